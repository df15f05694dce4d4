"""The losses of classification: softmax cross-entropy, or one logistic loss per class."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from foundation.errors import UserError


@dataclass(frozen=True)
class LossConfig:
    """What is minimised.

    Attributes:
        kind: "softmax" is the paper's cross-entropy, "binary" one logistic loss per class (Wightman et al.
            2021).
        smoothing: share of the target spread evenly over all classes (Szegedy et al. 2016).
        target_threshold: of "binary": targets above it become 1, the others 0; None leaves them as they are.
        sum_classes: of "binary": the sum over the classes instead of their mean.
    """

    kind: Literal["softmax", "binary"] = "softmax"
    smoothing: float = 0.0
    target_threshold: float | None = None
    sum_classes: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise UserError(f"smoothing must be from 0 to below 1, got {self.smoothing}")
        threshold = self.target_threshold
        if self.kind == "softmax" and (threshold is not None or self.sum_classes):
            raise UserError("target_threshold and sum_classes belong to kind binary, got them with softmax")
        if threshold is not None and not 0 <= threshold < 1:
            raise UserError(f"target_threshold must be from 0 to below 1, got {threshold}")
        if threshold is not None and self.smoothing:
            raise UserError(
                f"target_threshold {threshold} makes targets 0 or 1 and undoes smoothing {self.smoothing}; "
                "leave one of them out"
            )


def classification_loss(logits: Tensor, targets: Tensor, config: LossConfig) -> Tensor:
    """Mean loss of a micro-batch.

    One logistic loss per class, since a mixed picture shows all its classes, is Wightman et al. 2021, §3.1.

    Args:
        logits: (N, K).
        targets: (N,) int64 labels, or (N, K) shares of the classes, summing to 1.
    """
    if config.kind == "softmax":
        return F.cross_entropy(logits, targets, label_smoothing=config.smoothing)
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
