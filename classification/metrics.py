"""Top-1 and top-5 errors as counts that add up over batches and processes."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class Counts:
    """What was counted over some pictures; K classes.

    Attributes:
        pictures: (K,) int64, pictures of each class.
        top1: (K,) int64, of those, the ones whose highest logit is the label's.
        top5: (K,) int64, of those, the ones whose label is among the five highest logits.
        loss: sum of the cross-entropies, nats.
    """

    pictures: Tensor
    top1: Tensor
    top5: Tensor
    loss: float

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.pictures + other.pictures,
            self.top1 + other.top1,
            self.top5 + other.top5,
            self.loss + other.loss,
        )


def count(logits: Tensor, labels: Tensor) -> Counts:
    """Counts one batch.

    A tie goes against the network: the label must beat every other class to be top-1. So a network
    that gives every class the same logit, or NaN, is wrong everywhere.

    Args:
        logits: (N, K) float.
        labels: (N,) int64, 0 … K−1.
    """
    num_classes = logits.shape[1]
    logits = logits.float()
    own = logits.gather(1, labels[:, None])
    beaten = (logits < own).sum(dim=1)
    totals = torch.stack([torch.ones_like(beaten), beaten >= num_classes - 1, beaten >= num_classes - 5])
    sums = torch.zeros(3, num_classes, dtype=torch.int64, device=logits.device)
    pictures, top1, top5 = sums.index_add_(1, labels, totals).cpu()
    return Counts(pictures, top1, top5, float(F.cross_entropy(logits, labels, reduction="sum")))


def summarise(counts: Counts, classes: list[str]) -> dict[str, Any]:
    """Errors in per cent, as the paper's tables have them.

    Returns:
        {"pictures": number, "scores": {"top1_error", "top5_error": per cent, "loss": mean, nats, or None if
        it is not finite}, "class_top1_error": {class: per cent, or None for a class without pictures}}. With
        fewer than six classes every label is among the five highest, so there is no top5_error.
    Raises:
        ValueError: nothing was counted.
    """
    total = int(counts.pictures.sum())
    if total == 0:
        raise ValueError("no picture was evaluated: expected at least one batch over all processes")
    wrong = counts.pictures - counts.top1
    per_class = zip(classes, counts.pictures.tolist(), wrong.tolist(), strict=True)
    scores = {
        "top1_error": 100 * int(wrong.sum()) / total,
        "top5_error": 100 * (total - int(counts.top5.sum())) / total,
        "loss": counts.loss / total if math.isfinite(counts.loss) else None,
    }
    if len(classes) < 6:
        del scores["top5_error"]
    return {
        "pictures": total,
        "scores": scores,
        "class_top1_error": {name: 100 * n_wrong / n if n else None for name, n, n_wrong in per_class},
    }
