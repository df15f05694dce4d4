"""Why VOC2007, VOC2012 and COCO figures of the same predictions differ: one convention changed at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch

from detection.metrics.ilsvrc_ap import VoidPairs, match_pairs
from detection.metrics.matching import (
    Flags,
    Floats,
    Indices,
    Matched,
    best_first,
    best_of_each_group,
    first_of_each,
    flatten_all,
    match_coco,
    match_voc,
)
from detection.metrics.voc_ap import Curve, average_precision, sampled_precision
from detection.types import Prediction, Target

PLUS_ONE = torch.tensor([0.0, 0.0, 1.0, 1.0])
COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())


@dataclass(frozen=True)
class Conventions:
    """How a mean average precision is computed; the defaults are VOC2012's.

    Attributes:
        recalls: at which precision is averaged: all ("area"), 11 (VOC2007) or 101 (COCO).
        thresholds: least overlaps of a hit, whose APs are averaged; of ILSVRC that of large objects.
        rule: of matching, see matching.py.
        ignored: what becomes of difficult objects and crowds: neither found nor missed ("ignored"), objects
            like all others ("counted"), or left out, so that detections of them are false ("dropped").
        limit: at most so many detections of a class in a picture, those of highest score.
        rounded: scores to 0.001 and boxes to 0.1 pixels, as detectron2's files for VOC's tools.
        plus_one: boxes one pixel wider and higher, as code that takes x2 and y2 for the last pixel inside.
    """

    recalls: Literal["11point", "area", "101point"] = "area"
    thresholds: tuple[float, ...] = (0.5,)
    rule: Literal["voc", "coco", "ilsvrc"] = "voc"
    ignored: Literal["ignored", "counted", "dropped"] = "ignored"
    limit: int | None = None
    rounded: bool = False
    plus_one: bool = False


VOC12 = Conventions()
VOC07 = Conventions(recalls="11point")
COCO = Conventions(recalls="101point", thresholds=COCO_THRESHOLDS, rule="coco", limit=100)
COCO50 = replace(COCO, thresholds=COCO_THRESHOLDS[:1])
ILSVRC = Conventions(rule="ilsvrc")

PROTOCOLS = [
    ("VOC2012: area under the curve, IoU .5", VOC12),
    ("VOC2007: 11 recalls, IoU .5", VOC07),
    ("COCO AP50: 101 recalls, IoU .5", COCO50),
    ("COCO AP: 101 recalls, IoU .5 to .95", COCO),
]

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


@dataclass(frozen=True)
class ClassMatches:
    """What became of the detections of one class.

    Attributes:
        label: the class, 1…K.
        pictures: (D,) number of each detection's picture; detections by score, the highest first.
        scores: (D,)
        hit: (T, D) found an object, at each threshold.
        counts: (T, D) is a hit or a false alarm; others found what is ignored.
        objects: (N,) objects in each picture that count, in all at least one.
    """

    label: int
    pictures: Indices
    scores: Floats
    hit: Flags
    counts: Flags
    objects: Indices


def match_pictures(
    predictions: Sequence[Prediction],
    targets: Sequence[Target],
    num_classes: int,
    how: Conventions,
    *,
    void_pairs: VoidPairs = (),
) -> Matched:
    """What each detection found.

    Args:
        predictions, targets: one of each per picture, in the same order.
        void_pairs: of ILSVRC's rule alone, see `ilsvrc_ap.evaluate`.
    Raises:
        UserError: a label is not one of 1…K.
    """
    predictions = [_as_written(prediction, how) for prediction in predictions]
    targets = [_as_read(target, how) for target in targets]
    found, scores, truth, ignore = flatten_all(predictions, targets, num_classes)
    if how.limit is not None:
        kept = best_of_each_group(found, scores, how.limit)
        found, scores = found.chosen(kept), scores[kept]
    if how.rule == "ilsvrc":
        return match_pairs(found, scores, truth, ignore, void_pairs)
    if how.rule == "coco":
        match = match_coco(found, scores, truth, ignore, ignore, how.thresholds)
    else:
        match = match_voc(found, truth, how.thresholds)
    return Matched(found, scores, truth, ignore, match)


def class_matches(matched: Matched) -> list[ClassMatches]:
    """Of every class that has an object which counts, in order of label."""
    found, truth, matches = matched.found, matched.truth, []
    order = best_first(found.labels, matched.scores)
    labels, counted = found.labels[order], matched.counts
    for label in np.unique(truth.labels[~matched.ignore]):
        rows = order[labels == label]
        counts = counted[:, rows]
        hit = counts & np.stack([first_of_each(of_threshold) for of_threshold in matched.match[:, rows]])
        pictures = truth.pictures[~matched.ignore & (truth.labels == label)]
        objects = np.bincount(pictures, minlength=truth.num_pictures)
        scores = matched.scores[rows]
        matches.append(ClassMatches(int(label), found.pictures[rows], scores, hit, counts, objects))
    return matches


def class_curve(matches: ClassMatches, how: Conventions, threshold: int = 0) -> Curve:
    """Precision against recall of a class at one of the thresholds, by its number."""
    counts = matches.counts[threshold]
    hits = np.cumsum(matches.hit[threshold][counts])
    # pycocotools adds this so as not to divide by nothing; it moves the last bit where the first is a hit.
    more = np.spacing(1.0) if how.rule == "coco" else 0
    precision = hits / (np.arange(1, len(hits) + 1) + more)
    return Curve(hits / int(matches.objects.sum()), precision, matches.scores[counts])


def mean_of(matches: Sequence[ClassMatches], how: Conventions) -> float:
    """Mean average precision of the classes at the thresholds of `how`; NaN without a class.

    With COCO's conventions equal to pycocotools to the last bit.
    """
    if not matches:
        return float("nan")
    numbers = range(len(how.thresholds))
    curves = [[class_curve(of_class, how, number) for number in numbers] for of_class in matches]
    if how.recalls == "101point":
        precision = [[sampled_precision(curve, how.recalls) for curve in of_class] for of_class in curves]
        return float(np.mean(np.ascontiguousarray(np.moveaxis(np.array(precision), 0, 2))))
    return float(np.mean([average_precision(curve, how.recalls) for curve in chain(*curves)]))


def mean_ap(
    predictions: Sequence[Prediction], targets: Sequence[Target], num_classes: int, how: Conventions
) -> float:
    """Mean average precision over the classes that have an object which counts; arguments as above."""
    return mean_of(class_matches(match_pictures(predictions, targets, num_classes, how)), how)


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
    predictions: Sequence[Prediction], targets: Sequence[Target], num_classes: int, coco: Matched
) -> list[dict[str, Any]]:
    """The figures of the three protocols, then VOC2012's with one convention changed at a time.

    Args:
        coco: the same predictions and objects as `coco_matches.match_records` matches them.
    Returns:
        Rows {"what", "mAP", "change"}: the change is to the first row, VOC2012's figure; None without any
        object that counts.
    """
    of_coco = class_matches(coco)

    def figure(how: Conventions) -> float:
        if how in (COCO, COCO50):
            return mean_of(of_coco, how)
        return mean_ap(predictions, targets, num_classes, how)

    rows = [(what, figure(how)) for what, how in [*PROTOCOLS, *CHANGES]]
    return [
        {"what": what, "mAP": _known(value), "change": _known(value - rows[0][1])} for what, value in rows
    ]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value
