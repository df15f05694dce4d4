"""Pretraining residual networks as classifiers: data, augmentation, metrics, training, evaluation."""
