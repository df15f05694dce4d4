"""The metric a configuration names, as one record: its figures and its classes."""

import math
from collections.abc import Sequence
from typing import Any, Literal

from detection.config import Metric
from detection.data.annotations import DetectionDataset
from detection.data.coco import CocoDataset
from detection.evaluate import coco_ap, voc_ap
from detection.types import Prediction

MAIN_SCORE = {"coco": "AP", "voc07": "mAP", "voc12": "mAP"}


def score(predictions: Sequence[Prediction], dataset: DetectionDataset, metric: Metric) -> dict[str, Any]:
    """Scores predictions, one per picture of the data set and in its order.

    Args:
        metric: "coco" (twelve figures), "voc07" (11-point mAP at IoU 0.5), "voc12" (area under the curve).
    Returns:
        {"metric": …, "scores": {name: 0…1}, "class_ap": {class: 0…1 or None where it has no object}}.
        COCO's own -1 for "nothing to find" becomes None as well.
    """
    if metric == "coco":
        truth = (
            dataset.annotation_file
            if isinstance(dataset, CocoDataset)
            else coco_ap.to_coco_annotations(dataset.targets, dataset.classes, dataset.category_ids)
        )
        return coco_record(coco_ap.evaluate(truth, coco_ap.to_coco_records(predictions, dataset)))
    method: Literal["11point", "area"] = "11point" if metric == "voc07" else "area"
    found = voc_ap.evaluate(predictions, dataset.targets, len(dataset.classes), method=method)
    return _record(metric, {"mAP": found.mean}, dataset.classes, found.ap.tolist())


def coco_record(found: coco_ap.CocoScores) -> dict[str, Any]:
    """The record of `score` from COCO's figures."""
    scores = dict(zip(coco_ap.STAT_NAMES, found.stats.tolist(), strict=True))
    return _record("coco", scores, found.classes, found.class_ap.tolist())


def _record(
    metric: Metric, scores: dict[str, float], classes: Sequence[str], class_ap: Sequence[float]
) -> dict[str, Any]:
    return {
        "metric": metric,
        "scores": {name: _known(value) for name, value in scores.items()},
        "class_ap": {name: _known(value) for name, value in zip(classes, class_ap, strict=True)},
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) or value < 0 else value


def describe(result: dict[str, Any]) -> str:
    """The record of `score` as a few lines for people, in per cent."""
    figures = [f"{name} {_per_cent(value)}" for name, value in result["scores"].items()]
    classes = [f"  {name:<20}{_per_cent(value):>8}" for name, value in result["class_ap"].items()]
    return "\n".join([f"{result['metric']} in %: {', '.join(figures)}", *classes])


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
