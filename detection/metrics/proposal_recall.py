"""How many of the objects proposals cover."""

from collections.abc import Sequence

import torch
from torch import Tensor

from detection.model.boxes import box_iou
from detection.types import Prediction, Target

THRESHOLDS = torch.linspace(0.5, 0.95, 10)


def proposal_recall(proposals: Sequence[Prediction], targets: Sequence[Target]) -> dict[str, float | None]:
    """Recall of proposals, whatever their order and number, of objects that count (Hosang et al. 2015).

    Returns:
        recall50, the share of the objects that a proposal overlaps with an IoU of at least 0.5, and
        average_recall over the IoUs 0.5, 0.55, … 0.95; None without objects.
    """
    covered = torch.cat([_best_overlaps(*pair) for pair in zip(proposals, targets, strict=True)])
    if not len(covered):
        return {"recall50": None, "average_recall": None}
    recall = (covered[:, None] >= THRESHOLDS).float().mean(dim=0)
    return {"recall50": recall[0].item(), "average_recall": recall.mean().item()}


def _best_overlaps(proposals: Prediction, target: Target) -> Tensor:
    """The largest IoU of each object with a proposal."""
    objects = target.boxes[~target.ignore]
    if not len(proposals.boxes):
        return torch.zeros(len(objects))
    overlaps = box_iou(objects[None], proposals.boxes[None])[0].nan_to_num(0)  # objects may have no area
    return overlaps.amax(dim=1).float()
