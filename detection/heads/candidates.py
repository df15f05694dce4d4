"""What may be in a picture, and the choice of what is said to be: suppression within each class."""

from typing import NamedTuple

import torch
from torch import Tensor

from detection.heads.roi_options import RoiConfig
from detection.model.boxes import at_least, take
from detection.model.suppression import padded_nms


class Candidates(NamedTuple):
    """What the predictors say of R regions of N pictures.

    scores (N, R, K), probabilities of the classes without the background; boxes (N, R, K, 4) float32 xyxy in
    pixels, within the picture; valid (N, R) bool, False where there is no region.
    """

    scores: Tensor
    boxes: Tensor
    valid: Tensor


class Detections(NamedTuple):
    """What was found in N pictures, best first.

    boxes (N, D, 4) float32 xyxy in resized pixels, scores (N, D), labels (N, D) int64 1…K, and valid (N, D)
    bool, False where there was nothing left to fill the row. masks (N, D, M, M) float32, where the detector
    makes them: probability of the object in each cell of an M by M grid over its box.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor
    masks: Tensor | None = None


def choose(candidates: Candidates, options: RoiConfig) -> Detections:
    """The best detections after non-maximum suppression within each class, without masks."""
    count, regions, num_classes = candidates.scores.shape
    boxes, scores = candidates.boxes.flatten(1, 2), candidates.scores.flatten(1)
    labels = torch.arange(1, num_classes + 1, device=boxes.device).expand(count, regions, -1).flatten(1)
    passing = candidates.scores > options.score_threshold
    valid = (passing & candidates.valid[..., None]).flatten(1)
    valid = valid & at_least(boxes, 1e-2)  # empty boxes go, as in torchvision
    # At most 1 / threshold classes of a region can pass the threshold.
    most = int(min(num_classes, 1 / max(options.score_threshold, 1e-6)))
    ranking = scores.masked_fill(~valid, -1).argsort(dim=1, descending=True, stable=True)
    best = _take(Detections(boxes, scores, labels, valid), ranking[:, : regions * most])
    index, kept = padded_nms(
        best.boxes,
        best.scores,
        best.valid,
        threshold=options.nms_threshold,
        count=options.detections_per_image,
        groups=best.labels,
    )
    return _take(best, index)._replace(valid=kept)


def _take(detections: Detections, index: Tensor) -> Detections:
    boxes, *rest, _ = detections
    return Detections(take(boxes, index), *(values.gather(1, index) for values in rest))
