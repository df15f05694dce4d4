"""Pretraining residual networks as classifiers: data, augmentation, metrics, training, evaluation."""

from foundation import require_neighbours
from foundation.lazy_exports import lazy_exports

__getattr__ = lazy_exports(
    __name__, {"load": "classification.loaded_classifier", "Classifier": "classification.loaded_classifier"}
)

require_neighbours(__name__)
