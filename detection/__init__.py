"""Detectors: data, Faster R-CNN, training and the official metrics."""

from foundation import require_neighbours

require_neighbours(__name__)
