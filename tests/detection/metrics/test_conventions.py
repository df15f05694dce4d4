"""One mean average precision for all protocols, against each protocol's own implementation."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.metrics import coco_ap, voc_ap
from detection.metrics.conventions import (
    CHANGES,
    COCO,
    COCO50,
    VOC07,
    VOC12,
    Conventions,
    explain,
    match_pictures,
    mean_ap,
)
from detection.results.result_records import to_coco_annotations, to_coco_records
from detection.types import Prediction, Target


def prediction(boxes: list, scores: list[float], labels: list[int] | None = None, image_id: int = 1):
    return Prediction(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels or [1] * len(boxes), dtype=torch.int64),
        torch.tensor(scores, dtype=torch.float64),
        image_id,
    )


def target(boxes: list, ignore: list[bool] | None = None, labels: list[int] | None = None, image_id: int = 1):
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels or [1] * len(boxes), dtype=torch.int64),
        torch.tensor(ignore or [False] * len(boxes), dtype=torch.bool),
        image_id,
        (500, 500),
    )


corner, side = st.integers(0, 5), st.integers(1, 4)
box = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], corner, corner, side, side)
# Few distinct scores: ties must be common.
detection = st.tuples(box, st.integers(1, 2), st.sampled_from([0.125, 0.25, 0.5, 0.75]))
thing = st.tuples(box, st.integers(1, 2), st.booleans())
pictures = st.lists(
    st.tuples(st.lists(detection, max_size=8), st.lists(thing, max_size=6)), min_size=1, max_size=3
)


@settings(max_examples=150)
@given(pictures)
def test_the_protocols_are_those_of_their_own_tools(drawn: list):
    found = [
        prediction([b for b, *_ in d], [s for *_, s in d], [k for _, k, _ in d], image_id=i)
        for i, (d, _) in enumerate(drawn, start=1)
    ]
    truth = [
        target([b for b, *_ in o], [h for *_, h in o], [k for _, k, _ in o], image_id=i)
        for i, (_, o) in enumerate(drawn, start=1)
    ]
    for how, method in ((VOC12, "area"), (VOC07, "11point")):
        expected: Any = voc_ap.evaluate(found, truth, 2, method=method).mean  # type: ignore[arg-type]
        assert mean_ap(found, truth, 2, how) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    annotations = to_coco_annotations(truth, ["a", "b"], [1, 2])
    records = to_coco_records(found, SimpleNamespace(category_ids=[1, 2]))  # type: ignore[arg-type]
    stats = np.where((s := coco_ap.evaluate(annotations, records).stats) < 0, np.nan, s)
    for how, figure in ((COCO, stats[0]), (COCO50, stats[1])):
        assert mean_ap(found, truth, 2, how) == pytest.approx(figure, abs=1e-12, nan_ok=True)


# One object found, one a false alarm of a lower score, one object missed, one difficult and found.
TRUTH = [target([[0, 0, 10, 10], [50, 50, 60, 60], [90, 0, 99, 9]], [False, False, True])]
FOUND = [prediction([[0, 0, 10, 8], [90, 0, 99, 9], [20, 20, 30, 30]], [0.9, 0.8, 0.7])]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 1 / 2),
        ({"recalls": "11point"}, 6 / 11),
        ({"recalls": "101point"}, 51 / 101),
        ({"thresholds": (0.5, 0.9)}, 1 / 4),  # IoU .8
        ({"ignored": "counted"}, 2 / 3),
        ({"ignored": "dropped"}, 1 / 2),
        ({"limit": 0}, 0),
        ({"limit": 1}, 1 / 2),
        # With one pixel more the boxes of 10 x 8 and 10 x 10 are 11 x 9 and 11 x 11, of IoU .818.
        ({"thresholds": (0.81,)}, 0),
        ({"thresholds": (0.81,), "plus_one": True}, 1 / 2),
    ],
)
def test_each_convention_by_hand(change: dict, expected: float):
    assert mean_ap(FOUND, TRUTH, 1, replace(Conventions(), **change)) == pytest.approx(expected)


def test_dropped_objects_leave_false_alarms():
    # The difficult object's detection has the highest score: dropped, it halves the precision of the hit.
    found = [prediction([[90, 0, 99, 9], [0, 0, 10, 10]], [0.9, 0.8])]
    assert mean_ap(found, TRUTH, 1, VOC12) == pytest.approx(1 / 2)
    assert mean_ap(found, TRUTH, 1, Conventions(ignored="dropped")) == pytest.approx(1 / 4)


def test_rounding_makes_ties_and_moves_edges():
    # Scores .9004 and .9001: rounded they tie, and the first, a false alarm, stays first.
    found = [prediction([[20, 20, 30, 30], [0, 0, 10, 10]], [0.9001, 0.9004])]
    assert mean_ap(found, TRUTH, 1, VOC12) == pytest.approx(1 / 2)
    assert mean_ap(found, TRUTH, 1, Conventions(rounded=True)) == pytest.approx(1 / 4)
    edge = [prediction([[0, 0, 10, 4.96]], [0.9])]
    assert mean_ap(edge, TRUTH, 1, VOC12) == 0
    assert mean_ap(edge, TRUTH, 1, Conventions(rounded=True)) == pytest.approx(1 / 2)


def test_the_rules_part_where_two_detections_share_a_best_object():
    # Both overlap the first object most; the second of them also overlaps the other object by .5 and more.
    truth = [target([[0, 0, 10, 10], [0, 3, 10, 13]])]
    found = [prediction([[0, 0, 10, 10], [0, 1, 10, 11]], [0.9, 0.8])]
    assert mean_ap(found, truth, 1, VOC12) == pytest.approx(1 / 2)
    assert mean_ap(found, truth, 1, Conventions(rule="coco")) == pytest.approx(1)


def test_nothing_to_find():
    assert np.isnan(mean_ap([prediction([], [])], [target([])], 1, COCO))
    assert mean_ap([prediction([], [])], [target([[0, 0, 1, 1]])], 1, COCO) == 0


def test_the_table_names_every_figure_and_its_difference():
    rows = explain(FOUND, TRUTH, 1, match_pictures(FOUND, TRUTH, 1, COCO))
    assert len(rows) == 4 + len(CHANGES) and rows[0]["change"] == 0
    assert rows[1]["change"] == pytest.approx(6 / 11 - 1 / 2)
    # An IoU of .8 reaches 7 of COCO's 10 thresholds, .5, .55 … .8.
    assert rows[2]["mAP"] == pytest.approx(51 / 101) and rows[3]["mAP"] == pytest.approx(0.7 * 51 / 101)
