"""Boxes of several looks at one picture become one answer: by suppression, or by weighted boxes fusion."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detection.model.suppression import padded_nms

_Floats = NDArray[np.float64]

FUSION_IOU = 0.55  # above which boxes are of one object: Solovyev et al. 2021 and their code


class Fused(NamedTuple):
    """Objects, best first; `members` are the rows of the given boxes that each was made of.

    boxes (R, 4) xyxy, scores (R,), labels (R,) int64 1…K.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    members: list[Tensor]


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Fused:
    """Greedy non-maximum suppression within each class; what is kept is kept as it is.

    Args:
        boxes: (D, 4) xyxy.
        scores: (D,).
        labels: (D,) int64.
        threshold: boxes with a larger IoU with a better one of their class go.
    """
    valid = torch.ones(1, len(boxes), dtype=torch.bool)
    index, kept = padded_nms(
        boxes[None], scores[None], valid, threshold=threshold, count=len(boxes), groups=labels[None]
    )
    rows = index[kept]
    return Fused(boxes[rows], scores[rows], labels[rows], list(rows[:, None]))


def fuse(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    looks: Callable[[Tensor], Tensor],
    *,
    threshold: float = FUSION_IOU,
) -> Fused:
    """Weighted boxes fusion (Solovyev, Wang and Gabruseva 2021, §3).

    By falling score, every box joins the object of its class that it overlaps most, if their IoU is above
    the threshold, or becomes a new one. An object's box is the mean of its members', weighted by score.
    Its score is the mean of theirs, times T / N where only T boxes came from N looks that could have seen it.

    Args:
        boxes: (D, 4) xyxy, of any number of looks.
        scores: (D,) above 0.
        labels: (D,) int64.
        looks: gives N (R,), 1 or more, for boxes (R, 4) float64. The paper has one N, its number of models;
            of a picture in tiles most objects are seen by few of them.
    """
    corners, weights = boxes.double().numpy(), scores.double().numpy()
    classes = [labels == label for label in labels.unique()]
    objects = [rows for chosen in classes for rows in _objects(corners, weights, chosen, threshold)]
    means = [np.average(corners[rows], axis=0, weights=weights[rows]) for rows in objects]
    fused = torch.from_numpy(np.array(means).reshape(-1, 4))
    counts = torch.tensor([len(rows) for rows in objects], dtype=torch.float64)
    most = looks(fused).double()
    mean_scores = torch.tensor([weights[rows].mean() for rows in objects], dtype=torch.float64)
    final = mean_scores * torch.minimum(counts, most) / most
    ranking = final.argsort(descending=True, stable=True)
    members = [torch.tensor(objects[index]) for index in ranking.tolist()]
    kinds = torch.stack([labels[rows[0]] for rows in members]) if members else labels
    return Fused(fused[ranking].to(boxes.dtype), final[ranking].to(scores.dtype), kinds, members)


def _objects(boxes: _Floats, scores: _Floats, chosen: Tensor, threshold: float) -> list[list[int]]:
    """The rows of one class, those `chosen`, by the object they belong to; the best of each first."""
    rows = chosen.numpy().nonzero()[0]
    members: list[list[int]] = []
    sums, means = np.zeros((len(rows), 4)), np.zeros((len(rows), 4))
    for row in rows[np.argsort(-scores[rows], kind="stable")].tolist():
        found = len(members)
        iou = _iou(means[:found], boxes[row])
        best = int(iou.argmax()) if found else 0
        if found and iou[best] > threshold:
            members[best].append(row)
        else:
            best = found
            members.append([row])
        sums[best] += scores[row] * boxes[row]
        means[best] = sums[best] / scores[members[best]].sum()
    return members


def _iou(boxes: _Floats, box: _Floats) -> _Floats:
    """(R,) of boxes (R, 4) with box (4,), all with an area."""
    overlap = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = overlap.clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared)
