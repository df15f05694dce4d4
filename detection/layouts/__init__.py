"""Readers of the layouts in which annotation tools export data sets."""
