"""Analyses beyond classifiers, and the folder that each analysis fills."""
