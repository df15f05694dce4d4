"""Average precision as the PASCAL VOC devkit computes it.

A detection belongs to the object of its class and picture that it overlaps most. If that overlap reaches the
threshold, the object's first detection in order of score is a hit and the others are false alarms, unless the
object is difficult, when they do not count at all. So every detection's object is fixed before scores are
looked at, and the whole matching is a few array operations.

The 11 recalls are NumPy's multiples of 0.1, as in py-faster-rcnn and detectron2. The fourth, 3 * 0.1, lies
just above 0.3: a class whose recall ends at exactly 3 / 10 does not reach it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from detection.types import Prediction, Target
from engine.errors import UserError

_Floats = NDArray[np.float64]
_Indices = NDArray[np.int64]

_ELEVEN_RECALLS = 0.1 * np.arange(11)


@dataclass(frozen=True)
class Curve:
    """Precision against recall of one class, one point per detection that counts, best score first."""

    recall: _Floats
    precision: _Floats
    scores: _Floats


@dataclass(frozen=True)
class VocScores:
    """What `evaluate` found.

    Attributes:
        ap: (K,) per class, 0…1, NaN where a class has no object that counts.
        mean: of `ap` over the classes that have one; NaN if none has.
        curves: K; the recall is NaN where a class has no object that counts.
        num_objects: (K,) objects that count (not difficult).
    """

    ap: _Floats
    mean: float
    curves: list[Curve]
    num_objects: _Indices


@dataclass(frozen=True)
class _Rows:
    """Boxes of all pictures one below the other; `group` numbers each row's picture and class."""

    boxes: _Floats
    labels: _Indices
    group: _Indices


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
    _check_arguments(predictions, targets, iou_threshold, method)
    found = _flatten(predictions, num_classes, "prediction")
    truth = _flatten(targets, num_classes, "target")
    scores = _join([prediction.scores for prediction in predictions]).astype(np.float64)
    difficult = _join([target.ignore for target in targets]).astype(bool)
    if not np.isfinite(scores).all():
        raise UserError(
            "a prediction has a score that is not finite; expected probabilities: check the detector"
        )
    match = _match(found, truth, iou_threshold)
    num_objects = np.bincount(truth.labels[~difficult], minlength=num_classes + 1)[1:]
    curves = _curves(found, scores, match, difficult, num_objects)
    average = _area if method == "area" else _eleven_point
    ap = np.array(
        [average(curve) if count else np.nan for curve, count in zip(curves, num_objects, strict=True)]
    )
    mean = float(np.mean(ap[num_objects > 0])) if num_objects.any() else np.nan
    return VocScores(ap, mean, curves, num_objects)


def _curves(
    found: _Rows, scores: _Floats, match: _Indices, difficult: NDArray[np.bool_], num_objects: _Indices
) -> list[Curve]:
    """One per class, of the detections `found` with the objects that `match` gives them."""
    order = np.lexsort((-scores, found.labels))  # class by class, best score first; stable
    order = order[~np.append(difficult, False)[match[order]]]  # a match of -1 looks up the appended False
    hit = _first_of_each(match[order])
    bounds = np.searchsorted(found.labels[order], np.arange(1, len(num_objects) + 2))
    return [
        _curve(hit[start:stop], scores[order[start:stop]], count)
        for start, stop, count in zip(bounds[:-1], bounds[1:], num_objects, strict=True)
    ]


def _check_arguments(
    predictions: Sequence[Prediction], targets: Sequence[Target], iou_threshold: float, method: str
) -> None:
    if method not in ("area", "11point"):
        raise UserError(f"method must be 'area' or '11point', got {method!r}")
    if not 0 < iou_threshold <= 1:
        raise UserError(f"iou_threshold must be above 0 and at most 1, got {iou_threshold}")
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


def _join(tensors: Sequence[torch.Tensor]) -> np.ndarray:
    return torch.cat(list(tensors)).numpy() if tensors else np.zeros(0)


def _flatten(pictures: Sequence[Prediction] | Sequence[Target], num_classes: int, kind: str) -> _Rows:
    labels = _join([picture.labels for picture in pictures]).astype(np.int64)
    index = np.repeat(np.arange(len(pictures)), [len(picture.labels) for picture in pictures])
    wrong = np.flatnonzero((labels < 1) | (labels > num_classes))
    if len(wrong):
        picture = pictures[index[wrong[0]]].image_id
        raise UserError(
            f"a {kind} of picture {picture!r} has label {labels[wrong[0]]}, expected 1…{num_classes}: "
            "score it with the classes it was made for"
        )
    boxes = _join([picture.boxes for picture in pictures]).astype(np.float64).reshape(-1, 4)
    return _Rows(boxes, labels, index * (num_classes + 1) + labels)


def _match(found: _Rows, truth: _Rows, iou_threshold: float) -> _Indices:
    """(D,) the object each detection overlaps most in its group, the first of equals; −1 below threshold."""
    by_group = np.argsort(truth.group, kind="stable")
    group = truth.group[by_group]
    candidate, stop = (
        np.searchsorted(group, found.group, "left"),
        np.searchsorted(group, found.group, "right"),
    )
    best = np.zeros(len(found.labels))
    match = np.full(len(found.labels), -1)
    rows = np.flatnonzero(candidate < stop)
    while len(rows):  # once per object of the fullest group
        objects = by_group[candidate[rows]]
        iou = _iou(found.boxes[rows], truth.boxes[objects])
        better = iou > best[rows]
        best[rows[better]] = iou[better]
        match[rows[better]] = objects[better]
        candidate[rows] += 1
        rows = rows[candidate[rows] < stop[rows]]
    match[best < iou_threshold] = -1
    return match


def _iou(boxes: _Floats, others: _Floats) -> _Floats:
    """Row by row (R,)."""
    sides = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    overlap = sides.clip(0).prod(axis=1)
    areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, others)]
    return overlap / np.maximum(areas[0] + areas[1] - overlap, np.finfo(np.float64).tiny)


def _first_of_each(match: _Indices) -> NDArray[np.bool_]:
    """Marks the first detection of every object."""
    objects, first = np.unique(match, return_index=True)
    marked = np.zeros(len(match), dtype=bool)
    marked[first[objects >= 0]] = True
    return marked


def _curve(hit: NDArray[np.bool_], scores: _Floats, num_objects: int) -> Curve:
    found = np.cumsum(hit)
    recall = found / num_objects if num_objects else np.full(len(found), np.nan)
    return Curve(recall, found / np.arange(1, len(found) + 1), scores)


def _envelope(precision: _Floats) -> _Floats:
    """The best precision at each recall or any higher one."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def _area(curve: Curve) -> float:
    steps = np.diff(curve.recall, prepend=0)
    return float(np.sum(steps * _envelope(curve.precision)))


def _eleven_point(curve: Curve) -> float:
    reached = np.searchsorted(curve.recall, _ELEVEN_RECALLS)
    return float(np.mean(np.append(_envelope(curve.precision), 0)[reached]))
