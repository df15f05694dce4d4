"""Checks of the label maps of segmentation."""
