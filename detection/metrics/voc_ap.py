"""Average precision as the PASCAL VOC devkit computes it.

matching.py says which object a detection belongs to. Detections of difficult objects do not count at all.

The 11 recalls are NumPy's multiples of 0.1, as in py-faster-rcnn and detectron2. The fourth, 3 * 0.1, lies
just above 0.3: a class whose recall ends at exactly 3 / 10 does not reach it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from detection.metrics.matching import (
    Floats,
    Indices,
    Matched,
    best_first,
    first_of_each,
    flatten_all,
    match_voc,
)
from detection.types import Prediction, Target
from foundation.errors import UserError

Recalls = Literal["area", "11point", "101point"]
RECALLS: dict[Recalls, Floats] = {"11point": 0.1 * np.arange(11.0), "101point": np.linspace(0, 1, 101)}


@dataclass(frozen=True)
class Curve:
    """Precision against recall of one class, one point per detection that counts, best score first."""

    recall: Floats
    precision: Floats
    scores: Floats


@dataclass(frozen=True)
class VocScores:
    """What `evaluate` found.

    Attributes:
        ap: (K,) per class, 0…1, NaN where a class has no object that counts.
        mean: of `ap` over the classes that have one; NaN if none has.
        curves: K; the recall is NaN where a class has no object that counts.
        num_objects: (K,) objects that count (not difficult).
    """

    ap: Floats
    mean: float
    curves: list[Curve]
    num_objects: Indices


def evaluate(
    predictions: Sequence[Prediction],
    targets: Sequence[Target],
    num_classes: int,
    *,
    iou_threshold: float = 0.5,
    method: Literal["area", "11point"] = "area",
) -> VocScores:
    """Score predictions, one per target in the same order.

    Detections of equal score keep their order (picture by picture, then as predicted). Nothing is rounded.

    Args:
        num_classes: K; labels are 1…K.
        iou_threshold: least overlap of a hit (the devkit's >=).
        method: "area" under the precision envelope (VOC2010 on) or the mean at 11 recalls (VOC2007).
    Raises:
        UserError: the pictures differ, or a label, score or method is not what it should be.
    """
    if method not in ("area", "11point"):
        raise UserError(f"method must be 'area' or '11point', got {method!r}")
    if not 0 < iou_threshold <= 1:
        raise UserError(f"iou_threshold must be above 0 and at most 1, got {iou_threshold}")
    check_pictures_match(predictions, targets)
    found, scores, truth, difficult = flatten_all(predictions, targets, num_classes)
    match = match_voc(found, truth, [iou_threshold])
    return scores_of(Matched(found, scores, truth, difficult, match), method)


def scores_of(matched: Matched, recalls: Recalls = "area") -> VocScores:
    """The scores of detections matched at one threshold, by any rule.

    Raises:
        UserError: a score is not finite.
    """
    found, truth, scores, num_classes = (
        matched.found,
        matched.truth,
        matched.scores,
        matched.truth.num_classes,
    )
    if not np.isfinite(scores).all():
        raise UserError(
            "a prediction has a score that is not finite; expected probabilities: check the detector"
        )
    (match,), (counts,) = matched.match, matched.counts
    num_objects = np.bincount(truth.labels[~matched.ignore], minlength=num_classes + 1)[1:]
    order = best_first(found.labels, scores)
    order = order[counts[order]]
    bounds = np.searchsorted(found.labels[order], np.arange(1, num_classes + 1))
    curves, ap = [], np.full(num_classes, np.nan)
    of_class = np.split(first_of_each(match[order]), bounds)[1:], np.split(scores[order], bounds)[1:]
    for i, (hit, best, count) in enumerate(zip(*of_class, num_objects, strict=True)):
        hits = np.cumsum(hit)
        recall = hits / count if count else np.full(len(hits), np.nan)
        curves.append(Curve(recall, hits / np.arange(1, len(hits) + 1), best))
        if count:
            ap[i] = average_precision(curves[i], recalls)
    mean = float(np.mean(ap[num_objects > 0])) if num_objects.any() else np.nan
    return VocScores(ap, mean, curves, num_objects)


def check_pictures_match(predictions: Sequence[Prediction], targets: Sequence[Target]) -> None:
    """Refuse with a UserError predictions that are not one per target in the same order."""
    if len(predictions) != len(targets):
        raise UserError(
            f"{len(predictions)} predictions for {len(targets)} targets; expected one per picture"
        )
    for prediction, target in zip(predictions, targets, strict=True):
        if prediction.image_id not in (None, target.image_id):
            raise UserError(
                f"prediction of picture {prediction.image_id!r} stands where {target.image_id!r} was "
                "expected; give predictions in the order of the targets"
            )


def average_precision(curve: Curve, recalls: Recalls) -> float:
    """Of a curve with recalls: under its envelope, or the envelope's mean at 11 (VOC2007) or 101 (COCO)."""
    if recalls == "area":
        return float(np.sum(np.diff(curve.recall, prepend=0) * _envelope(curve)))
    return float(np.mean(sampled_precision(curve, recalls)))


def sampled_precision(curve: Curve, recalls: Recalls) -> Floats:
    """(11,) or (101,) the best precision at each recall or any higher, 0 where the curve ends before."""
    return np.append(_envelope(curve), 0)[np.searchsorted(curve.recall, RECALLS[recalls])]


def _envelope(curve: Curve) -> Floats:
    return np.maximum.accumulate(curve.precision[::-1])[::-1]
