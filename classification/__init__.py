"""Pretraining residual networks as classifiers: data, augmentation, metrics, training, evaluation."""

from foundation import require_neighbours

require_neighbours(__name__)
