"""Several detectors' result files on one data set become one answer: an ensemble without networks."""

from collections.abc import Sequence
from typing import Any

import torch

from detection.data.annotations import DetectionDataset
from detection.heads.roi_options import RoiConfig
from detection.improve.box_fusion import fuse, suppress
from detection.results.pasted_masks import mean_masks
from detection.results.result_records import from_coco_records
from detection.types import Prediction
from foundation.errors import UserError

# What a detector does with its own boxes unless it is configured otherwise.
THRESHOLD, MOST = RoiConfig.nms_threshold, RoiConfig.detections_per_image


def join_files(
    records: Sequence[Any], dataset: DetectionDataset, files: Sequence[str], merge: str
) -> list[Prediction]:
    """One Prediction per picture of the data set, of what several files say of it.

    Of a picture the best `MOST` objects are kept: COCO allows 100.

    Args:
        records: of each file, not checked yet.
        files: named in errors.
        merge: "nms" keeps of boxes of a class that overlap by more than `THRESHOLD` the best one as it is;
            "wbf" fuses them with as many looks as there are files, see `fuse`. What weighs nothing, a box
            without area or with score 0, is left out of it. A fused object's mask is the mean of its masks.
    Raises:
        UserError: a file is of other pictures or classes, some files have masks and others boxes alone, or
            scores below 0 are to be fused.
    """
    found = [from_coco_records(own, dataset, file) for own, file in zip(records, files, strict=True)]
    with_masks = {f: any(p.masks is not None for p in own) for f, own in zip(files, found, strict=True)}
    alone = [file for file, own in zip(files, records, strict=True) if len(own) and not with_masks[file]]
    if alone and any(with_masks.values()):
        masked = ", ".join(file for file in files if with_masks[file])
        raise UserError(
            f"{', '.join(alone)}: boxes alone, where {masked} has masks; give masks in all, or in none"
        )
    if merge == "wbf":
        for file, own in zip(files, found, strict=True):
            if (lowest := min((float(p.scores.min()) for p in own if len(p.scores)), default=0)) < 0:
                raise UserError(
                    f"{file}: score {lowest:g} cannot be a weight; fuse probabilities, or take --merge nms"
                )
    pictures = zip(*found, dataset.image_sizes, strict=True)
    return [_joined(answers, size, merge) for *answers, size in pictures]


def _joined(answers: Sequence[Prediction], size: tuple[int, int], merge: str) -> Prediction:
    """What several files say of one picture (height, width)."""
    boxes, scores, labels = (
        torch.cat([getattr(answer, name) for answer in answers]) for name in ("boxes", "scores", "labels")
    )
    rows, number = torch.arange(len(boxes)), len(answers)
    if merge == "wbf":
        rows = ((boxes[:, 2:] > boxes[:, :2]).all(dim=1) & (scores > 0)).nonzero()[:, 0]
        whole = fuse(boxes[rows], scores[rows], labels[rows], lambda means: torch.full((len(means),), number))
    else:
        whole = suppress(boxes, scores, labels, THRESHOLD)
    masks = None
    if any(answer.masks is not None for answer in answers):
        own = [mask for answer in answers for mask in answer.masks or []]
        masks = mean_masks(own, scores, [rows[members] for members in whole.members[:MOST]], size)
    of_best = whole.boxes[:MOST], whole.labels[:MOST], whole.scores[:MOST]
    return Prediction(*of_best, answers[0].image_id, masks)
