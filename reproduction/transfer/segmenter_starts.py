"""How a network for semantic segmentation can start, and what trained ones are compared by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foundation.errors import UserError
from reproduction.results.paired_groups import RESAMPLES, SEED, Group
from segmentation.config import SegmentationConfig
from segmentation.metrics.iou_bootstrap import resampled_ious
from segmentation.results.counted_pictures import CountedPictures, load_counted_pictures
from training.run_folder import PER_PICTURE


class SegmenterStarts:
    """Of `tools/train_seg.py`; see `start_comparison.Starts`."""

    schema = SegmentationConfig

    def variant(self, config: SegmentationConfig, start: str, weights: str) -> SegmentationConfig:
        """`config` for one start; the starts differ in the section of the model alone."""
        model = replace(config.model, weights=None, backbone_weights=None if start == "scratch" else weights)
        if start != "pretrained":
            norm: Literal["batch", "sync"] = "batch" if model.norm == "frozen" else model.norm
            model = replace(model, norm=norm, frozen_stages=0)
        return replace(config, model=model)

    def read(
        self, config: SegmentationConfig, folders: Sequence[Path], results: Sequence[Mapping[str, Any]]
    ) -> Group:
        """The mean IoU, from what was counted in every picture.

        Raises:
            UserError: per_picture.npz is missing, damaged or of another evaluation than the result, or the
                seeds were scored on different pictures.
        """
        counted = [_counted(*each) for each in zip(folders, results, strict=True)]
        # With the classes, since networks of others have another mean.
        prints = {f"{one.fingerprint} {', '.join(one.classes)}" for one in counted}
        if len(prints) > 1:
            raise UserError(
                f"{folders[0]} and the folders of its other seeds were scored on different pictures or label "
                "maps; remove the older ones, and run the command again"
            )
        resamples = [100 * resampled_ious(one.counts, RESAMPLES, SEED) for one in counted]
        scores = [100 * one.scores["mIoU"] for one in counted]
        return Group({"mIoU": scores}, {"mIoU": np.mean(resamples, axis=0)}, prints.pop())


def _counted(folder: Path, result: Mapping[str, Any]) -> CountedPictures:
    counted, stated = load_counted_pictures(folder / PER_PICTURE), result["scores"]["mIoU"]
    if stated is None or not math.isclose(counted.scores["mIoU"], stated, abs_tol=1e-9):
        raise UserError(
            f"{folder / PER_PICTURE} is of another evaluation than result.json beside it; remove the folder, "
            "and run the command again"
        )
    return counted
