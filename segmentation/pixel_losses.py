"""What a network for semantic segmentation is trained on: cross entropy over the pixels that count."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from segmentation.types import IGNORED
from training.config import require_between


@dataclass(frozen=True)
class LossOptions:
    """Weights of classes and heads, and which pixels count.

    Attributes:
        aux: weight of the auxiliary head's loss (Zhao et al. 2017).
        class_weights: one for each class in order, by which its pixels weigh; () weighs all alike.
        hard_probability: online hard examples: pixels whose true class has a greater probability than this
            do not count in the main loss, unless fewer than hard_share would remain; null counts all pixels.
        hard_share: share of a batch's pixels that count at least.
    """

    aux: float = 0.4
    class_weights: tuple[float, ...] = ()
    hard_probability: float | None = None
    hard_share: float = 1 / 16

    def __post_init__(self) -> None:
        require_between(self, 0, math.inf, "aux")
        require_between(self, 0, 1, "hard_probability", "hard_share")
        if not all(0 <= weight < math.inf for weight in self.class_weights):
            raise ValueError(f"class_weights must be numbers from 0 on, got {list(self.class_weights)}")


def segmentation_losses(
    logits: Mapping[str, Tensor], labels: Tensor, options: LossOptions
) -> dict[str, Tensor]:
    """The loss terms of a micro-batch.

    Args:
        logits: "out" (N, K, H, W), and "aux" of a network that has it.
        labels: (N, H, W) uint8, 0…K−1 or `IGNORED`.
    Returns:
        "loss" and, with an auxiliary head, "loss_aux", means over the pixels that count of the whole
        micro-batch; 0 where none does.
    """
    truth = labels.long()
    weights = _on_device(options.class_weights, truth.device) if options.class_weights else None
    losses = {"loss": pixel_loss(logits["out"], truth, weights, hard_examples(logits["out"], truth, options))}
    if "aux" in logits:
        losses["loss_aux"] = options.aux * pixel_loss(logits["aux"], truth, weights, None)
    return losses


@lru_cache(maxsize=8)  # a copy to the GPU in every step would wait for it, and end a captured step
@torch.inference_mode(False)  # cached tensors made in inference mode could never meet autograd again
def _on_device(weights: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(weights, device=device)


def pixel_loss(logits: Tensor, truth: Tensor, weights: Tensor | None, counted: Tensor | None) -> Tensor:
    """The weighted mean of the cross entropy, as torch's with ignore_index; of some pixels where told.

    Args:
        logits: (N, K, H, W).
        truth: (N, H, W) int64.
        weights: (K,) of the classes.
        counted: (N, H, W) bool.
    """
    each = F.cross_entropy(logits, truth, weights, ignore_index=IGNORED, reduction="none")
    known = truth != IGNORED if counted is None else counted
    if weights is None:
        share = known.to(each.dtype)
    else:
        share = weights[truth.clamp(max=len(weights) - 1)].masked_fill(~known, 0)
    return each.masked_fill(~known, 0).sum() / share.sum().clamp(min=torch.finfo(each.dtype).tiny)


def hard_examples(logits: Tensor, truth: Tensor, options: LossOptions) -> Tensor | None:
    """(N, H, W) bool, the pixels that count with online hard examples (Shrivastava et al. 2016, for pixels).

    None where the options count all.
    """
    if options.hard_probability is None:
        return None
    known = truth != IGNORED
    with torch.no_grad():
        probability = logits.softmax(dim=1).gather(1, truth.masked_fill(~known, 0)[:, None])[:, 0]
        ranked = probability.masked_fill(~known, 2).flatten().sort().values
        least = ranked[max(1, math.ceil(options.hard_share * len(ranked))) - 1]
        return known & (probability <= least.clamp(min=options.hard_probability))
