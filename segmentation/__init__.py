"""Semantic segmentation: networks, data, training and the metrics of label maps."""

from foundation import require_neighbours

require_neighbours(__name__)
