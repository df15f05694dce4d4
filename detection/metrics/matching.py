"""Which object each detection found, by the rules of VOC, COCO and ILSVRC, for all pictures at once.

VOC: a detection belongs to the object of its class and picture that it overlaps most, and of those that
belong to one object and overlap it enough, the one of the highest score is a hit. So every detection's object
is fixed before scores are looked at. COCO: detections choose in order of score, each the object it overlaps
most among those that none has taken yet; an ignored object is chosen only if no other is left, by any number
of detections, and overlap with it is measured against the detection alone. ILSVRC: detections choose in the
same order, but each object has a threshold of its own, and overlap is always the IoU.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from detection.types import Prediction, Target
from foundation.errors import UserError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Detections compared at once: so few that all arrays stay in the processor's cache, which halves the time.
_CHUNK = 8192


@dataclass(frozen=True)
class Rows:
    """Detections or objects of all pictures, column by column.

    Attributes:
        boxes: (4, R) xyxy.
        areas: (R,) of the boxes.
        labels: (R,) 1…K.
        pictures: (R,) numbers of their pictures; the rows of a picture stand together.
        places: (R,) which of its picture's each is, from 0.
    """

    boxes: Floats
    areas: Floats
    labels: Indices
    pictures: Indices
    places: Indices
    num_pictures: int
    num_classes: int

    @property
    def group(self) -> Indices:
        """(R,) one number for each picture and class."""
        return self.pictures * (self.num_classes + 1) + self.labels

    def chosen(self, rows: Indices) -> "Rows":
        """Some of the rows."""
        boxes = np.ascontiguousarray(self.boxes[:, rows])
        labels, pictures, places = (column[rows] for column in (self.labels, self.pictures, self.places))
        return replace(
            self, boxes=boxes, areas=self.areas[rows], labels=labels, pictures=pictures, places=places
        )


@dataclass(frozen=True)
class Matched:
    """Which object each detection found.

    Attributes:
        found, truth: the detections and the objects of all pictures. Where scores are equal, the detection
            that stands first is the better one.
        scores: (D,)
        ignore: (G,) objects that count neither as found nor as missed.
        match: (T, D) the object of each detection at each threshold, −1 without one.
        void: (D,) detections that are no false alarms where they find nothing; None has none of them.
    """

    found: Rows
    scores: Floats
    truth: Rows
    ignore: Flags
    match: Indices
    void: Flags | None = None

    @property
    def counts(self) -> Flags:
        """(T, D) is a hit or a false alarm."""
        counted = ~np.append(self.ignore, False)[self.match]  # a match of -1 looks up the appended False
        return counted if self.void is None else counted & ~((self.match < 0) & self.void)


def flatten_all(
    predictions: Sequence[Prediction], targets: Sequence[Target], num_classes: int
) -> tuple[Rows, Floats, Rows, Flags]:
    """Everything of all pictures: detections, their scores (D,), objects, and which of these to ignore (G,).

    Raises:
        UserError: a label is not one of 1…K.
    """
    found, truth = _rows(predictions, num_classes, "prediction"), _rows(targets, num_classes, "target")
    scores = _join([prediction.scores for prediction in predictions]).astype(np.float64)
    return found, scores, truth, _join([target.ignore for target in targets]).astype(bool)


def _rows(pictures: Sequence[Prediction] | Sequence[Target], num_classes: int, kind: str) -> Rows:
    labels = _join([picture.labels for picture in pictures]).astype(np.int64)
    index = np.repeat(np.arange(len(pictures)), [picture.labels.shape[0] for picture in pictures])
    wrong = np.flatnonzero((labels < 1) | (labels > num_classes))
    if len(wrong):
        picture = pictures[index[wrong[0]]].image_id
        raise UserError(
            f"a {kind} of picture {picture!r} has label {labels[wrong[0]]}, expected 1…{num_classes}: "
            "score it with the classes it was made for"
        )
    boxes = _join([picture.boxes for picture in pictures]).astype(np.float64).reshape(-1, 4)
    x1, y1, x2, y2 = corners = np.ascontiguousarray(boxes.T)
    areas, places = (x2 - x1) * (y2 - y1), np.arange(len(index)) - np.searchsorted(index, index)
    return Rows(corners, areas, labels, index, places, len(pictures), num_classes)


def _join(tensors: Sequence[torch.Tensor]) -> np.ndarray:
    """One array of all; of no numbers if there are none."""
    return torch.cat(list(tensors)).numpy() if tensors else np.zeros(0)


def best_first(group: Indices, scores: Floats) -> Indices:
    """(D,) rows ordered by group, in each by score, the highest first; equal ones as they stand.

    As np.lexsort((-scores, group)) in a quarter of its time: the quick sorts are not stable, so the place of
    each distinct score, and then the row, become digits of one whole number.
    """
    if not len(scores):
        return np.zeros(0, dtype=np.int64)
    quick = np.argsort(-scores)
    place = np.empty(len(scores), dtype=np.int64)
    place[quick] = np.cumsum(np.append(0, np.diff(scores[quick]) != 0))
    rows = np.arange(len(scores))
    if (group.max() + 1.0) * len(scores) ** 2 >= 2**63:
        return np.lexsort((place, group))
    return np.sort((group * len(scores) + place) * len(scores) + rows) % len(scores)


def best_of_each_group(found: Rows, scores: Floats, limit: int) -> Indices:
    """The rows, in their order, of the `limit` best detections of each class in each picture."""
    by_group = best_first(found.group, scores)
    group = found.group[by_group]
    return np.sort(by_group[np.arange(len(group)) - np.searchsorted(group, group) < limit])


def overlap_most(found: Rows, truth: Rows) -> tuple[Indices, Floats]:
    """(D,) the object of its group that each detection overlaps most, the first of equals, and the IoU.

    −1 and 0 where it overlaps none.
    """
    by_group, candidate, stop = _candidates(found, truth)
    best = np.zeros(len(found.labels))
    match = np.full(len(found.labels), -1)
    for start in range(0, len(match), _CHUNK):
        rows = start + np.flatnonzero(candidate[start : start + _CHUNK] < stop[start : start + _CHUNK])
        while len(rows):  # once per object of the fullest group
            objects = by_group[candidate[rows]]
            iou = pair_iou(found, rows, truth, objects)
            better = np.flatnonzero(iou > best[rows])
            best[rows[better]] = iou[better]
            match[rows[better]] = objects[better]
            candidate[rows] += 1
            rows = rows[candidate[rows] < stop[rows]]
    return match, best


def match_voc(found: Rows, truth: Rows, thresholds: Sequence[float]) -> Indices:
    """(T, D) the object each detection belongs to at each threshold; −1 without one."""
    match, best = overlap_most(found, truth)
    return np.where(best >= np.array(thresholds)[:, None], match, -1)


def match_coco(
    found: Rows, scores: Floats, truth: Rows, ignore: Flags, crowd: Flags, thresholds: Sequence[float]
) -> Indices:
    """(T, D) the object each detection takes at each threshold (pycocotools' evaluateImg); −1 without one.

    Args:
        ignore: (G,) objects that count neither as found nor as missed.
        crowd: (G,) those of them that any number of detections may take.
    """
    least = np.minimum(np.array(thresholds), 1 - 1e-10)[:, None]
    match = np.full((len(thresholds), len(scores)), -1)
    taken = np.zeros((len(thresholds), len(ignore)), dtype=bool)
    for turn in _turns(found, scores, truth):
        objects = turn.objects
        overlap = pair_iou(found, turn.rows, truth, objects, crowd[objects])
        free = (overlap >= least) & (crowd[objects] | ~taken[:, objects])
        ignored = turn.best(np.where(free & ignore[objects], overlap, -1), last=True)
        single = turn.best(np.where(free & ~ignore[objects], overlap, -1), last=True)
        match[:, turn.detections] = chosen = np.where(single >= 0, single, ignored)
        threshold, detection = np.nonzero(chosen >= 0)
        taken[threshold, chosen[threshold, detection]] = True
    return match


def match_ilsvrc(found: Rows, scores: Floats, truth: Rows, ignore: Flags, least: Floats) -> Indices:
    """(D,) the object each detection takes (ILSVRC's eval_detection.m); −1 without one.

    Args:
        ignore: (G,) objects that count neither as found nor as missed. The devkit knows none: as with COCO,
            one is chosen only if no other is left, by any number of detections.
        least: (G,) the overlap from which on an object is found.
    """
    match = np.full(len(scores), -1)
    taken = np.zeros(len(ignore), dtype=bool)
    for turn in _turns(found, scores, truth):
        objects = turn.objects
        overlap = pair_iou(found, turn.rows, truth, objects)
        free = (overlap >= least[objects]) & (overlap > 0) & ~(taken & ~ignore)[objects]
        ignored = turn.best(np.where(free & ignore[objects], overlap, -1)[None], last=False)[0]
        single = turn.best(np.where(free & ~ignore[objects], overlap, -1)[None], last=False)[0]
        match[turn.detections] = chosen = np.where(single >= 0, single, ignored)
        taken[chosen[chosen >= 0]] = True
    return match


class _Turn(NamedTuple):
    """Detections of different groups, each beside all objects of its group.

    Attributes:
        detections: (R,)
        sizes, firsts: (R,) how many pairs each has, at least one, and which is its first.
        rows, objects: (P,) the detection and the object of each pair.
    """

    detections: Indices
    sizes: Indices
    firsts: Indices
    rows: Indices
    objects: Indices

    def best(self, overlap: Floats, *, last: bool) -> Indices:
        """(T, R) the first or the last object of the greatest overlap (T, P); −1 if that is −1."""
        best = np.maximum.reduceat(overlap, self.firsts, axis=1)
        is_best = (overlap == np.repeat(best, self.sizes, axis=1)) & (overlap >= 0)
        pairs = np.arange(overlap.shape[1])
        if last:
            chosen = np.maximum.reduceat(np.where(is_best, pairs, -1), self.firsts, axis=1)
        else:
            chosen = np.minimum.reduceat(np.where(is_best, pairs, len(pairs)), self.firsts, axis=1)
        return np.append(self.objects, -1)[chosen]


def _turns(found: Rows, scores: Floats, truth: Rows) -> Iterator[_Turn]:
    """First the best detection of every group that has an object, then the second …"""
    by_group, start, stop = _candidates(found, truth)
    order = best_first(found.group, scores)
    group = found.group[order]
    rank = np.arange(len(order)) - np.searchsorted(group, group)
    chosen = stop[order] > start[order]
    order, rank = order[chosen], rank[chosen]
    by_rank = order[np.argsort(rank, kind="stable")]
    for detections in np.split(by_rank, np.cumsum(np.bincount(rank)))[:-1]:
        sizes = stop[detections] - start[detections]
        firsts = np.cumsum(sizes) - sizes
        rows = np.repeat(detections, sizes)
        objects = by_group[np.arange(len(rows)) - np.repeat(firsts - start[detections], sizes)]
        yield _Turn(detections, sizes, firsts, rows, objects)


def _candidates(found: Rows, truth: Rows) -> tuple[Indices, Indices, Indices]:
    """Objects ordered by group, and (D,) from where to where in them those of a detection's group are."""
    sizes = np.bincount(truth.group, minlength=truth.num_pictures * (truth.num_classes + 1) + 1)
    stops = np.cumsum(sizes)
    group = found.group
    return np.argsort(truth.group, kind="stable"), (stops - sizes)[group], stops[group]


def pair_iou(
    found: Rows, rows: Indices, truth: Rows, objects: Indices, crowd: Flags | bool = False
) -> Floats:
    """(P,) of detections `rows` (P,) with `objects` (P,); with a crowd the share of the box inside it."""
    boxes, others = found.boxes[:, rows], truth.boxes[:, objects]
    width, height = np.maximum(np.minimum(boxes[2:], others[2:]) - np.maximum(boxes[:2], others[:2]), 0)
    overlap, area = width * height, found.areas[rows]
    union = area + truth.areas[objects] - overlap
    return overlap / np.maximum(np.where(crowd, area, union), np.finfo(np.float64).tiny)


def first_of_each(match: Indices) -> Flags:
    """(D,) marks the first detection of every object."""
    first = np.zeros(match.max(initial=-1) + 2, dtype=np.int64)
    first[match[::-1]] = np.arange(len(match))[::-1]  # of equal indices the last assignment stays
    return (match >= 0) & (first[match] == np.arange(len(match)))
