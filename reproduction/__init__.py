"""Comparisons and reports over complete runs."""
