"""Detectors: data, Faster R-CNN, training and the official metrics."""

from foundation import require_neighbours
from foundation.lazy_exports import lazy_exports

__getattr__ = lazy_exports(
    __name__, {"load": "detection.loaded_detector", "Detector": "detection.loaded_detector"}
)

require_neighbours(__name__)
