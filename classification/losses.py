"""The losses of classification: softmax cross-entropy, or one logistic loss per class."""

import torch.nn.functional as F
from torch import Tensor

from classification.config import LossConfig


def classification_loss(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """Mean loss of a micro-batch.

    Args:
        logits: (N, K).
        targets: (N,) int64 labels, or (N, K) shares of the classes, summing to 1.
    """
    if config.kind == "softmax":
        return F.cross_entropy(logits, targets, label_smoothing=config.smoothing)
    return binary_loss(logits, targets, config)


def binary_loss(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """One logistic loss per class (Wightman et al. 2021, §3.1): a mixed picture shows all its classes."""
    num_classes = logits.shape[1]
    if targets.ndim == 1:
        targets = F.one_hot(targets, num_classes)
    targets = targets.float() * (1 - config.smoothing) + config.smoothing / num_classes
    if config.target_threshold is not None:
        targets = (targets > config.target_threshold).float()
    loss = F.binary_cross_entropy_with_logits(logits.float(), targets)
    return loss * num_classes if config.sum_classes else loss


def dominant_labels(targets: Tensor) -> Tensor:
    """(N,) int64: the labels, or the class with the largest share; of equal shares the first class."""
    return targets if targets.ndim == 1 else targets.argmax(dim=1)
