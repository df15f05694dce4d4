"""Why VOC2007, VOC2012 and COCO figures of the same predictions differ: one convention changed at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from detection.metrics.matching import (
    Flags,
    Indices,
    best_first,
    first_of_each,
    flatten_all,
    match_coco,
    match_voc,
)
from detection.metrics.voc_ap import Curve, average_precision
from detection.types import Prediction, Target

PLUS_ONE = torch.tensor([0.0, 0.0, 1.0, 1.0])
COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())


@dataclass(frozen=True)
class Conventions:
    """How a mean average precision is computed; the defaults are VOC2012's.

    Attributes:
        recalls: at which precision is averaged: all ("area"), 11 (VOC2007) or 101 (COCO).
        thresholds: least overlaps of a hit, whose APs are averaged.
        rule: of matching, see matching.py.
        ignored: what becomes of difficult objects and crowds: neither found nor missed ("ignored"), objects
            like all others ("counted"), or left out, so that detections of them are false ("dropped").
        limit: at most so many detections of a class in a picture, those of highest score.
        rounded: scores to 0.001 and boxes to 0.1 pixels, as detectron2's files for VOC's tools.
        plus_one: boxes one pixel wider and higher, as code that takes x2 and y2 for the last pixel inside.
    """

    recalls: Literal["11point", "area", "101point"] = "area"
    thresholds: tuple[float, ...] = (0.5,)
    rule: Literal["voc", "coco"] = "voc"
    ignored: Literal["ignored", "counted", "dropped"] = "ignored"
    limit: int | None = None
    rounded: bool = False
    plus_one: bool = False


VOC12 = Conventions()
VOC07 = Conventions(recalls="11point")
COCO50 = Conventions(recalls="101point", rule="coco", limit=100)
COCO = replace(COCO50, thresholds=COCO_THRESHOLDS)

# Each change of VOC2012's conventions in words, and the conventions with it.
CHANGES: list[tuple[str, Conventions]] = [
    ("precision averaged at 11 recalls (VOC2007) instead of all", VOC07),
    ("precision averaged at 101 recalls (COCO) instead of all", Conventions(recalls="101point")),
    ("mean over IoU .5 to .95 (COCO) instead of .5 alone", Conventions(thresholds=COCO_THRESHOLDS)),
    ("COCO's matching: the best object not yet taken", Conventions(rule="coco")),
    ("difficult objects and crowds counted as any other", Conventions(ignored="counted")),
    ("difficult objects and crowds dropped: detections of them are false", Conventions(ignored="dropped")),
    ("at most 100 detections a class and picture (COCO)", Conventions(limit=100)),
    ("scores rounded to .001, boxes to .1 pixels (detectron2)", Conventions(rounded=True)),
    ('boxes a pixel larger ("+1" on boxes that have no need of it)', Conventions(plus_one=True)),
]


def mean_ap(
    predictions: Sequence[Prediction], targets: Sequence[Target], num_classes: int, how: Conventions
) -> float:
    """Mean average precision over the classes that have an object which counts; NaN without any.

    Args:
        predictions, targets: one of each per picture, in the same order.
    Raises:
        UserError: a label is not one of 1…K.
    """
    aps = []
    for matches in class_matches(predictions, targets, num_classes, how):
        for hit, counts in zip(matches.hit, matches.counts, strict=True):
            hits = np.cumsum(hit[counts])
            precision = hits / np.arange(1, len(hits) + 1)
            curve = Curve(hits / int(matches.objects.sum()), precision, np.zeros(len(hits)))
            aps.append(average_precision(curve, how.recalls))
    return float(np.mean(aps)) if aps else float("nan")


@dataclass(frozen=True)
class ClassMatches:
    """What became of the detections of one class.

    Attributes:
        pictures: (D,) number of each detection's picture; detections by score, the highest first.
        hit: (T, D) found an object, at each threshold.
        counts: (T, D) is a hit or a false alarm; others found what is ignored.
        objects: (N,) objects in each picture that count, in all at least one.
    """

    pictures: Indices
    hit: Flags
    counts: Flags
    objects: Indices


def class_matches(
    predictions: Sequence[Prediction], targets: Sequence[Target], num_classes: int, how: Conventions
) -> list[ClassMatches]:
    """Of every class that has an object which counts; arguments as of `mean_ap`."""
    predictions = [_as_written(prediction, how) for prediction in predictions]
    targets = [_as_read(target, how) for target in targets]
    found, scores, truth, ignore = flatten_all(predictions, targets, num_classes)
    if how.rule == "coco":
        match = match_coco(found, scores, truth, ignore, how.thresholds)
    else:
        match = match_voc(found, truth, how.thresholds)
    order = best_first(found.labels, scores)
    if how.limit is not None:
        by_group = best_first(found.group, scores)
        group = found.group[by_group]
        late = by_group[np.arange(len(group)) - np.searchsorted(group, group) >= how.limit]
        order = order[~np.isin(order, late)]
    labels, matches = found.labels[order], []
    for label in np.unique(truth.labels[~ignore]):
        rows = order[labels == label]
        counts = ~np.append(ignore, False)[match[:, rows]]  # a match of -1 looks up the appended False
        hit = counts & np.stack([first_of_each(of_threshold) for of_threshold in match[:, rows]])
        pictures = truth.pictures[~ignore & (truth.labels == label)]
        objects = np.bincount(pictures, minlength=truth.num_pictures)
        matches.append(ClassMatches(found.pictures[rows], hit, counts, objects))
    return matches


def _as_written(prediction: Prediction, how: Conventions) -> Prediction:
    boxes, scores = prediction.boxes, prediction.scores
    if how.rounded:
        boxes, scores = boxes.double().round(decimals=1).float(), scores.double().round(decimals=3)
    return replace(prediction, boxes=boxes + PLUS_ONE if how.plus_one else boxes, scores=scores)


def _as_read(target: Target, how: Conventions) -> Target:
    if how.ignored == "dropped":
        target = target.of_rows(~target.ignore)
    boxes = target.boxes + PLUS_ONE if how.plus_one else target.boxes
    return replace(target, boxes=boxes, ignore=target.ignore & (how.ignored == "ignored"), mask=None)


def explain(
    predictions: Sequence[Prediction], targets: Sequence[Target], num_classes: int
) -> list[dict[str, Any]]:
    """The figures of the three protocols, then VOC2012's with one convention changed at a time.

    Returns:
        Rows {"what", "mAP", "change"}: the change is to the first row, VOC2012's figure; None without any
        object that counts.
    """
    protocols = [
        ("VOC2012: area under the curve, IoU .5", VOC12),
        ("VOC2007: 11 recalls, IoU .5", VOC07),
        ("COCO AP50: 101 recalls, IoU .5", COCO50),
        ("COCO AP: 101 recalls, IoU .5 to .95", COCO),
    ]
    rows = [(what, mean_ap(predictions, targets, num_classes, how)) for what, how in [*protocols, *CHANGES]]
    return [
        {"what": what, "mAP": _known(value), "change": _known(value - rows[0][1])} for what, value in rows
    ]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
