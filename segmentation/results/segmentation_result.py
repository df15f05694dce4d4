"""The figures of predicted label maps, as result.json holds them."""

import math
from typing import Any

import numpy as np

from foundation.errors import plural
from segmentation.metrics.boundary_score import mean_boundary_f
from segmentation.metrics.confusion_matrix import Counts, PictureCounts
from segmentation.metrics.iou_bootstrap import bootstrap_iou
from segmentation.metrics.label_figures import Floats, score_matrix

NAMES = {
    "mIoU": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean class accuracy",
    "frequency_weighted_IoU": "frequency-weighted IoU",
    "boundary_F": "boundary F",
}


def segmentation_result(
    matrix: Counts,
    classes: list[str],
    pictures: PictureCounts,
    *,
    boundaries: list[Floats] | None = None,
    resamples: int = 0,
) -> dict[str, Any]:
    """The figures, 0 … 1, None where there is nothing to compute one from.

    Args:
        matrix: (K, K) of all pictures.
        pictures: what an interval needs of each.
        boundaries: (K,) of each picture, see `boundary_f`; without, there is no boundary F.
        resamples: of the pictures, for the 95 % interval of the mean IoU; 0 leaves it out.
    Returns:
        {"metric": "segmentation", "scores": {name: …}, "class_iou": {class: …}, "pictures": N} and
        "interval" of the mean IoU.
    """
    found = score_matrix(matrix)
    scores = {
        "mIoU": found.mean_iou,
        "pixel_accuracy": found.pixel_accuracy,
        "mean_accuracy": found.mean_accuracy,
        "frequency_weighted_IoU": found.frequency_weighted_iou,
    }
    if boundaries is not None:
        scores["boundary_F"] = mean_boundary_f(boundaries)[0]
    result: dict[str, Any] = {
        "metric": "segmentation",
        "scores": {name: _known(value) for name, value in scores.items()},
        "class_iou": {
            name: _known(value) for name, value in zip(classes, found.class_ious.tolist(), strict=True)
        },
        "pictures": len(pictures.hits),
    }
    if resamples:
        interval = bootstrap_iou(pictures, resamples=resamples)
        result["interval"] = {"mIoU": [_known(interval.low), _known(interval.high)], "resamples": resamples}
    return result


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(np.float64(value))


def describe_segmentation(result: dict[str, Any]) -> str:
    """The result as a few lines for people, in per cent."""
    lines = [f"segmentation in % of {plural(result['pictures'], 'picture')}"]
    for name, value in result["scores"].items():
        line = f"  {NAMES[name]:<28}{_per_cent(value):>7}"
        if name == "mIoU" and "interval" in result:
            low, high = map(_per_cent, result["interval"]["mIoU"])
            line += f"  ({low} to {high})"
        lines.append(line)
    lines.append("IoU of each class, - where it neither is nor is predicted:")
    return "\n".join([*lines, *(f"  {name:<28}{_per_cent(v):>7}" for name, v in result["class_iou"].items())])


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
