"""The localization error by hand, and against eval_clsloc.m's loops written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.metrics.bootstrap import bootstrap_mean
from detection.metrics.localization_error import evaluate, whole_picture_error
from detection.types import Prediction, Target
from foundation.errors import UserError

NEAR, FAR = [0, 0, 100, 60], [150, 150, 190, 190]  # of IoU 0.6 and 0 with the box below
BOX = [0, 0, 100, 100]


def target(boxes: list, labels: list, size: tuple[int, int] = (200, 200)) -> Target:
    rows = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    ignore = torch.zeros(len(rows), dtype=torch.bool)
    return Target(rows, torch.tensor(labels, dtype=torch.int64), ignore, "a", size)


def guesses(*rows: tuple[int, list]) -> Prediction:
    """Of (label, box), the best first; the scores say the opposite."""
    boxes = torch.tensor([box for _, box in rows], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor([label for label, _ in rows], dtype=torch.int64)
    return Prediction(boxes, labels, torch.arange(len(rows)) / 10)


def slow(found: Prediction, truth: Target, label: int, count: int, least: float) -> tuple[bool, bool]:
    """Whether localization and classification of one picture are wrong, by the first `count` guesses."""
    errors = []
    for own, box in list(zip(found.labels.tolist(), found.boxes.tolist(), strict=True))[:count]:
        overlaps = [
            slow_iou(box, other)
            for other, its in zip(truth.boxes.tolist(), truth.labels.tolist(), strict=True)
            if its == label
        ]
        errors.append((own != label or max(overlaps, default=0) < least, own != label))
    return all(wrong for wrong, _ in errors), all(wrong for _, wrong in errors)


def slow_iou(a: list, b: list) -> float:
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    if width <= 0 or height <= 0:
        return 0
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - width * height
    return width * height / union


corner, side, label = st.integers(0, 6), st.integers(1, 6), st.integers(1, 3)
boxes = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], corner, corner, side, side)
picture = st.tuples(
    st.lists(st.tuples(label, boxes), max_size=7), st.lists(st.tuples(label, boxes), max_size=4), label
)


@settings(max_examples=200, deadline=None)
@given(st.lists(picture, min_size=1, max_size=5), st.sets(st.integers(0, 4)), st.sampled_from([0.3, 0.5]))
def test_equals_the_development_kit_step_by_step(pictures: list, left_out: set[int], least: float):
    left_out = {number for number in left_out if number < len(pictures)}
    found = [guesses(*rows) for rows, _, _ in pictures]
    truth = [target([box for _, box in rows], [own for own, _ in rows]) for _, rows, _ in pictures]
    labels = [own for _, _, own in pictures]
    scores = evaluate(found, truth, labels, left_out=left_out, iou_threshold=least)
    counted = [number not in left_out for number in range(len(pictures))]
    assert scores.counted.tolist() == counted
    for count in range(1, 6):
        wrong = np.array([slow(*one, count, least) for one in zip(found, truth, labels, strict=True)])
        expected = wrong[counted].mean(axis=0) if any(counted) else [math.nan, math.nan]
        errors = scores.localization_errors[count - 1], scores.classification_errors[count - 1]
        np.testing.assert_allclose(errors, expected)
        assert scores.all_classification_errors[count - 1] == pytest.approx(wrong[:, 1].mean())
    assert (
        np.column_stack([scores.localization_wrong, scores.classification_wrong]).tolist() == wrong.tolist()
    )
    np.testing.assert_equal(scores.error, scores.localization_errors[4])


@pytest.mark.parametrize(
    ("rows", "localized", "named"),
    [
        ([(2, NEAR)], True, True),
        ([(2, [0, 0, 100, 50])], True, True),  # an IoU of exactly one half
        ([(2, [0, 0, 100, 49])], False, True),
        ([(1, BOX)], False, False),  # the right box under the wrong name
        ([(2, FAR)], False, True),
        ([(1, BOX), (2, FAR)], False, True),  # name and box are right in different guesses
        ([(2, FAR), (2, NEAR)], True, True),
        ([(1, FAR)] * 4 + [(2, BOX)], True, True),  # the fifth
        ([(1, FAR)] * 5 + [(2, BOX)], False, False),  # a sixth is not looked at
        ([(2, [120, 120, 160, 160])], True, True),  # the other of two objects
        ([(2, [40, 40, 160, 160])], False, True),  # half over each of them is neither
        ([], False, False),
    ],
)
def test_one_picture(rows: list, localized: bool, named: bool):
    # Two objects of class 2, and one of class 3 that the picture is not of.
    truth = target([BOX, [120, 120, 160, 160], FAR], [2, 2, 3])
    scores = evaluate([guesses(*rows)], [truth], [2])
    assert scores.localization_wrong.tolist() == [not localized]
    assert scores.classification_wrong.tolist() == [not named]
    assert scores.error == float(not localized)


def test_errors_by_the_number_of_guesses():
    truth = [target([BOX], [1])] * 4
    found = [
        guesses((1, BOX)),  # right at once
        guesses((1, FAR), (2, BOX), (1, NEAR)),  # class at once, box with the third
        guesses((2, BOX), (1, BOX)),  # both with the second
        guesses((2, BOX), (3, BOX)),  # never
    ]
    scores = evaluate(found, truth, [1] * 4)
    assert scores.localization_errors.tolist() == [0.75, 0.5, 0.25, 0.25, 0.25]
    assert scores.classification_errors.tolist() == [0.5, 0.25, 0.25, 0.25, 0.25]
    assert evaluate(found, truth, [1] * 4, most=2).error == 0.5
    without = evaluate(found, truth, [1] * 4, left_out=[3])
    assert without.error == 0 and without.counted.tolist() == [True, True, True, False]
    assert without.all_classification_errors[-1] == 0.25 and without.localization_wrong[3]
    assert without.wrong.tolist() == without.misclassified.tolist() == [False] * 3
    assert math.isnan(evaluate(found, truth, [1] * 4, left_out=range(4)).error)
    assert math.isnan(evaluate([], [], []).error)


def test_the_whole_picture_as_a_box():
    # 100 of 200 x 100 pixels are just enough, 99 of them are not.
    truth = [target([[0, 0, 100, 100]], [3], (100, 200)), target([[0, 0, 99, 100]], [5], (100, 200))]
    scores = whole_picture_error(truth, [3, 5])
    assert scores.localization_wrong.tolist() == [False, True] and scores.error == 0.5
    assert scores.classification_errors.tolist() == [0]
    assert whole_picture_error(truth, [3, 5], left_out={1}).error == 0


def test_the_interval_of_an_error_and_of_a_difference():
    wrong = np.arange(100) < 40
    better = np.arange(100) < 30
    interval = bootstrap_mean(wrong, resamples=500)
    assert interval.figure == 0.4
    # A share of 0.4 in 100 pictures has a deviation of 0.049.
    assert interval.low == pytest.approx(0.4 - 1.96 * 0.049, abs=0.02)
    assert interval.high == pytest.approx(0.4 + 1.96 * 0.049, abs=0.02)
    paired = bootstrap_mean(wrong.astype(float) - better, resamples=500)
    assert paired.low is not None and paired.high is not None
    assert paired.figure == pytest.approx(0.1) and 0.03 < paired.low < 0.1 < paired.high < 0.17


@pytest.mark.parametrize(
    ("labels", "options", "text"),
    [
        ([1, 1], {}, "1 pictures with guesses, 1 targets and 2 classes"),
        ([0], {}, "image_labels must be 1…K, got 0"),
        ([1], {"iou_threshold": 0}, "above 0 and at most 1, got 0"),
        ([1], {"most": 0}, "1 or more guesses, got 0"),
    ],
)
def test_refuses(labels: list, options: dict, text: str):
    with pytest.raises(UserError, match=text):
        evaluate([guesses((1, BOX))], [target([BOX], [1])], labels, **options)
    with pytest.raises(UserError, match="2 classes"):
        whole_picture_error([target([BOX], [1])], [1, 1])
