"""ILSVRC's AP by hand, and against eval_detection.m's loops written out, one detection after the other."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.metrics import ilsvrc_ap, voc_ap
from detection.metrics.bootstrap import bootstrap
from detection.metrics.conventions import ILSVRC, class_matches, match_pictures, mean_of
from detection.types import Prediction, Target
from foundation.errors import UserError


def make_target(boxes, labels, ignore=None, image_id="a"):
    boxes = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    ignored = torch.tensor(ignore or [False] * len(boxes), dtype=torch.bool)
    return Target(boxes, torch.tensor(labels, dtype=torch.int64), ignored, image_id, (500, 500))


def make_prediction(boxes, labels, scores):
    boxes = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    labels = torch.tensor(labels, dtype=torch.int64)
    return Prediction(boxes, labels, torch.tensor(scores, dtype=torch.float64))


def slow_iou(a, b):
    """Of two boxes of the kit's files, whose last pixels belong to them."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return None
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def slow_threshold(box):
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    return min(0.5, width * height / ((width + 10) * (height + 10)))


def inclusive(box):
    return [box[0], box[1], box[2] - 1, box[3] - 1]


def slow_ap(predictions, targets, label, void_pairs):
    """AP of one class, NaN without an object, and the number of its objects."""
    hits, total = [], 0
    for picture, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        if (picture, label) in void_pairs:
            continue
        objects = [
            [inclusive(box), ignored, False]
            for box, own, ignored in zip(target.boxes.tolist(), target.labels, target.ignore, strict=True)
            if own == label
        ]
        total += sum(not ignored for _, ignored, _ in objects)
        rows = zip(
            prediction.scores.tolist(), prediction.boxes.tolist(), prediction.labels.tolist(), strict=True
        )
        for score, box, own in sorted(rows, key=lambda row: -row[0]):
            if own != label:
                continue
            best, chosen, near_ignored = -1, None, False
            for candidate in objects:
                iou = slow_iou(inclusive(box), candidate[0])
                if iou is None or iou < slow_threshold(candidate[0]):
                    continue
                if candidate[1]:
                    near_ignored = True
                elif not candidate[2] and iou > best:
                    best, chosen = iou, candidate
            if chosen is not None:
                chosen[2] = True
                hits.append((score, True))
            elif not near_ignored:
                hits.append((score, False))
    if not total:
        return math.nan, 0
    hits.sort(key=lambda row: -row[0])
    found = np.cumsum([hit for _, hit in hits])
    recall, precision = found / total, found / np.arange(1, len(hits) + 1)
    area, previous = 0.0, 0.0
    for index, reached in enumerate(recall):
        area += (reached - previous) * max(precision[index:])
        previous = reached
    return area, total


corner, side = st.integers(0, 12), st.sampled_from([1, 4, 5, 10, 20, 40])
boxes = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], corner, corner, side, side)
label = st.integers(1, 2)
detections = st.lists(st.tuples(boxes, label, st.sampled_from([0.1, 0.5, 0.9])), max_size=12)
objects = st.lists(st.tuples(boxes, label, st.sampled_from([False, False, False, True])), max_size=8)
pairs = st.frozensets(st.tuples(st.integers(0, 3), label), max_size=3)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(detections, objects), min_size=1, max_size=4), pairs)
def test_equals_the_development_kit_step_by_step(pictures, void_pairs):
    void_pairs = {pair for pair in void_pairs if pair[0] < len(pictures)}
    predictions = [
        make_prediction(*map(list, zip(*d, strict=True))) if d else make_prediction([], [], [])
        for d, _ in pictures
    ]
    targets = [
        make_target(*map(list, zip(*o, strict=True))) if o else make_target([], []) for _, o in pictures
    ]
    scores = ilsvrc_ap.evaluate(predictions, targets, 2, void_pairs=void_pairs)
    expected = [slow_ap(predictions, targets, label, void_pairs) for label in (1, 2)]
    np.testing.assert_allclose(scores.ap, [ap for ap, _ in expected], rtol=1e-12, atol=1e-15)
    assert scores.num_objects.tolist() == [count for _, count in expected]
    # Intervals and reports match by `match_pictures`: their figure is the same.
    matches = class_matches(match_pictures(predictions, targets, 2, ILSVRC, void_pairs=void_pairs))
    np.testing.assert_allclose(mean_of(matches, ILSVRC), scores.mean, rtol=1e-12)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (10, 100 / 400),  # 10 x 10 / (20 x 20)
        (20, 400 / 900),
        (24, 576 / 1156),
        (25, 0.5),  # 625 / 1225 is above
        (300, 0.5),
    ],
)
def test_small_objects_have_a_lower_threshold(size: int, expected: float):
    target = make_target([[3, 4, 3 + size, 4 + size]], [1])
    _, _, truth, _ = ilsvrc_ap.flatten_all([make_prediction([], [], [])], [target], 1)
    assert ilsvrc_ap.least_overlap(truth).tolist() == [expected]


def test_a_box_of_four_times_the_area_finds_a_small_object():
    # 10 x 10 pixels inside 20 x 20: the IoU is 100 / 400, just the object's threshold, and below VOC's.
    target = make_target([[5, 5, 15, 15]], [1])
    found = make_prediction([[0, 0, 20, 20]], [1], [0.9])
    assert ilsvrc_ap.evaluate([found], [target], 1).mean == 1
    assert voc_ap.evaluate([found], [target], 1).mean == 0
    wider = make_prediction([[0, 0, 20.1, 20]], [1], [0.9])
    assert ilsvrc_ap.evaluate([wider], [target], 1).mean == 0
    # As good an overlap, 10000 / 40000, is not enough where ten pixels are little.
    large = make_target([[50, 50, 150, 150]], [1])
    assert ilsvrc_ap.evaluate([make_prediction([[0, 0, 200, 200]], [1], [0.9])], [large], 1).mean == 0


def test_a_detection_takes_the_second_best_object_if_the_best_is_taken():
    # Objects of 100 x 100, one 20 pixels right of the other. Both detections overlap the first most; the
    # second one has the other left to take: 90 of 110 pixels of width. VOC calls it a false alarm.
    target = make_target([[0, 0, 100, 100], [20, 0, 120, 100]], [1, 1])
    found = make_prediction([[0, 0, 100, 100], [5, 0, 105, 100]], [1, 1], [0.9, 0.8])
    assert ilsvrc_ap.evaluate([found], [target], 1).mean == 1
    assert voc_ap.evaluate([found], [target], 1).mean == 0.5


def test_an_object_whose_threshold_is_not_reached_does_not_stand_in_the_way():
    # The object of 100 x 100 is overlapped most, 0.49, but needs 0.5. The one of 8 x 8, of which all is in
    # the box of 70 x 70, overlaps 64 / 4900: below its own 64 / 324. So neither is found …
    target = make_target([[0, 0, 100, 100], [20, 20, 28, 28]], [1, 1])
    found = make_prediction([[0, 0, 70, 70]], [1], [0.9])
    assert ilsvrc_ap.evaluate([found], [target], 1).mean == 0
    # … while a box of 14 x 14 inside a large object finds the small one of 10 x 10 in its midst.
    target = make_target([[0, 0, 28, 28], [5, 5, 15, 15]], [1, 1])
    found = make_prediction([[4, 4, 18, 18]], [1], [0.9])
    # Of the large one 196 / 784 = 0.25, below 784 / 1444 and 0.5; of the small one 100 / 196 = 0.51.
    scores = ilsvrc_ap.evaluate([found], [target], 1)
    assert scores.mean == 0.5 and scores.curves[0].precision.tolist() == [1]


def test_of_equal_overlaps_the_first_object_is_taken():
    # Objects left and right of the first detection, of equal overlap 80 / 120; the second detection reaches
    # the right one alone. Had the first taken that, the second would be false.
    target = make_target([[0, 0, 100, 100], [40, 0, 140, 100]], [1, 1])
    found = make_prediction([[20, 0, 120, 100], [40, 0, 140, 100]], [1, 1], [0.9, 0.8])
    assert ilsvrc_ap.evaluate([found], [target], 1).mean == 1
    back = make_target([[40, 0, 140, 100], [0, 0, 100, 100]], [1, 1])
    assert ilsvrc_ap.evaluate([found], [back], 1).mean == 0.5


def test_the_blacklist_counts_neither_way():
    # Class 1: in picture 0 an object found and a false alarm, both of the blacklisted pair; in picture 1 a
    # missed object, its detection a false alarm. Class 2 of picture 0 counts as ever.
    targets = [
        make_target([[0, 0, 50, 50], [60, 60, 99, 99]], [1, 2], image_id="a"),
        make_target([[0, 0, 50, 50]], [1], image_id="b"),
    ]
    found = [
        make_prediction([[0, 0, 50, 50], [300, 300, 350, 350], [60, 60, 99, 99]], [1, 1, 2], [0.9, 0.8, 0.7]),
        make_prediction([[200, 0, 250, 50], [0, 0, 50, 50]], [1, 1], [0.6, 0.5]),
    ]
    whole = ilsvrc_ap.evaluate(found, targets, 2)
    # Hit, false, false, hit of two objects: 0.5 × 1 + 0.5 × 2/4.
    assert whole.ap.tolist() == [0.75, 1] and whole.num_objects.tolist() == [2, 1]
    without = ilsvrc_ap.evaluate(found, targets, 2, void_pairs=frozenset({(0, 1)}))
    # False, hit of one object.
    assert without.ap.tolist() == [0.5, 1] and without.num_objects.tolist() == [1, 1]
    assert len(without.curves[0].scores) == 2
    both = ilsvrc_ap.evaluate(found, targets, 2, void_pairs={(0, 1), (1, 1)})
    assert math.isnan(both.ap[0]) and both.mean == 1  # a class without an object that counts is left out
    # As if the pictures of the pair were not there, in the interval too.
    matches = class_matches(match_pictures(found, targets, 2, ILSVRC, void_pairs={(0, 1)}))
    interval = bootstrap(matches, 2, ILSVRC, resamples=50)
    assert interval.figure == 0.75 and interval.low is not None and interval.low <= 0.75


def test_ignored_objects_are_the_last_choice_of_any_number_of_detections():
    target = make_target([[0, 0, 100, 100], [10, 0, 110, 100]], [1, 1], [True, False])
    found = make_prediction([[0, 0, 100, 100]] * 3, [1, 1, 1], [0.9, 0.8, 0.7])
    scores = ilsvrc_ap.evaluate([found], [target], 1)
    assert scores.mean == 1 and len(scores.curves[0].scores) == 1 and scores.num_objects.tolist() == [1]


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (make_prediction([[0, 0, 1, 1]], [3], [0.5]), "label 3, expected 1…2"),
        (make_prediction([[0, 0, 1, 1]], [1], [float("inf")]), "score that is not finite"),
    ],
)
def test_refuses(found: Prediction, text: str):
    with pytest.raises(UserError, match=text):
        ilsvrc_ap.evaluate([found], [make_target([[0, 0, 1, 1]], [1])], 2)
    with pytest.raises(UserError, match="1 predictions for 0 targets"):
        ilsvrc_ap.evaluate([found], [], 2)


def test_nothing_anywhere():
    assert math.isnan(ilsvrc_ap.evaluate([], [], 2).mean)
    empty = ilsvrc_ap.evaluate([make_prediction([], [], [])], [make_target([], [])], 2)
    assert np.isnan(empty.ap).all()
    assert ilsvrc_ap.evaluate([make_prediction([], [], [])], [make_target([[0, 0, 9, 9]], [2])], 2).mean == 0
