"""Detectors: data, Faster R-CNN, training and the official metrics."""
