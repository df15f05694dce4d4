import json
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.metrics import voc_ap
from detection.types import Prediction, Target
from foundation.errors import UserError


def make_target(boxes, labels, difficult=None, image_id="a"):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    ignore = torch.tensor(difficult or [False] * len(boxes), dtype=torch.bool)
    return Target(boxes, torch.tensor(labels, dtype=torch.int64), ignore, image_id, (500, 500))


def make_prediction(boxes, labels, scores, image_id=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor(labels, dtype=torch.int64)
    return Prediction(boxes, labels, torch.tensor(scores, dtype=torch.float64), image_id)


def slow_ap(predictions, targets, label, iou_threshold, method):
    """The devkit's VOCevaldet.m and VOCap.m, one detection at a time (ranges: 2007 code for 11 points)."""
    ranked = [
        (score, picture, box)
        for picture, prediction in enumerate(predictions)
        for box, its_label, score in zip(
            prediction.boxes.tolist(), prediction.labels.tolist(), prediction.scores.tolist(), strict=True
        )
        if its_label == label
    ]
    ranked.sort(key=lambda row: -row[0])  # stable
    objects = {
        picture: [
            [box, ignore, False]
            for box, its_label, ignore in zip(
                t.boxes.tolist(), t.labels.tolist(), t.ignore.tolist(), strict=True
            )
            if its_label == label
        ]
        for picture, t in enumerate(targets)
    }
    total = sum(not ignore for group in objects.values() for _, ignore, _ in group)
    if total == 0:
        return math.nan
    true, false, recall, precision = 0, 0, [], []
    for _, picture, box in ranked:
        best, chosen = -math.inf, None
        for candidate in objects[picture]:
            iou = slow_iou(box, candidate[0])
            if iou > best:
                best, chosen = iou, candidate
        if best >= iou_threshold and chosen[1]:
            continue
        if best >= iou_threshold and not chosen[2]:
            chosen[2] = True
            true += 1
        else:
            false += 1
        recall.append(true / total)
        precision.append(true / (true + false))
    if method == "11point":
        reached = [[p for r, p in zip(recall, precision, strict=True) if r >= 0.1 * k] for k in range(11)]
        return sum(max(ps, default=0) for ps in reached) / 11
    area, previous = 0.0, 0.0
    for index, r in enumerate(recall):
        area += (r - previous) * max(precision[index:])
        previous = r
    return area


def slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


corner = st.integers(0, 6)
side = st.integers(1, 4)
boxes = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], corner, corner, side, side)
label = st.integers(1, 3)
# Few distinct scores: ties must be common.
detections = st.lists(st.tuples(boxes, label, st.sampled_from([0.1, 0.4, 0.5, 0.9])), max_size=12)
objects = st.lists(st.tuples(boxes, label, st.booleans()), max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(detections, objects), min_size=1, max_size=4),
    st.sampled_from([0.3, 0.5, 0.75]),
    st.sampled_from(["area", "11point"]),
)
def test_equals_the_devkit_step_by_step(pictures, iou_threshold, method):
    predictions = [
        make_prediction(*map(list, zip(*d, strict=True))) if d else make_prediction([], [], [])
        for d, _ in pictures
    ]
    targets = [
        make_target(*map(list, zip(*o, strict=True))) if o else make_target([], []) for _, o in pictures
    ]
    scores = voc_ap.evaluate(predictions, targets, 3, iou_threshold=iou_threshold, method=method)
    expected = [slow_ap(predictions, targets, label, iou_threshold, method) for label in (1, 2, 3)]
    np.testing.assert_allclose(scores.ap, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        scores.mean, np.nanmean(expected) if scores.num_objects.any() else np.nan, rtol=1e-12
    )


def test_worked_by_hand():
    # Two objects. Ranked: hit (.9), second detection of the same object = false (.8), hit (.7).
    # Recall .5 .5 1; precision 1 1/2 2/3. Area: .5 * 1 + .5 * 2/3. Eleven points: 6 recalls at 1, 5 at 2/3.
    target = make_target([[0, 0, 10, 10], [20, 20, 30, 30]], [1, 1])
    prediction = make_prediction(
        [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], [1, 1, 1], [0.9, 0.8, 0.7]
    )
    scores = voc_ap.evaluate([prediction], [target], 1)
    assert scores.ap[0] == pytest.approx(0.5 + 0.5 * 2 / 3, abs=1e-15)
    eleven = voc_ap.evaluate([prediction], [target], 1, method="11point")
    assert eleven.ap[0] == pytest.approx((6 + 5 * 2 / 3) / 11, abs=1e-15)
    np.testing.assert_allclose(scores.curves[0].recall, [0.5, 0.5, 1])
    np.testing.assert_allclose(scores.curves[0].precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_array_equal(scores.curves[0].scores, [0.9, 0.8, 0.7])
    assert scores.num_objects.tolist() == [2]


def test_an_overlap_equal_to_the_threshold_is_a_hit():
    # The devkit's ">=": intersection 50, union 100.
    prediction = make_prediction([[0, 0, 10, 5]], [1], [0.9])
    assert voc_ap.evaluate([prediction], [make_target([[0, 0, 10, 10]], [1])], 1).ap[0] == 1


def test_difficult_objects_do_not_count_either_way():
    target = make_target([[0, 0, 10, 10], [20, 20, 30, 30]], [1, 1], [True, False])
    prediction = make_prediction(
        [[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]], [1, 1, 1], [0.9, 0.8, 0.7]
    )
    scores = voc_ap.evaluate([prediction], [target], 1)
    assert scores.ap[0] == 1 and scores.num_objects.tolist() == [1]
    assert len(scores.curves[0].scores) == 1


def test_class_with_difficult_objects_only_has_no_ap():
    target = make_target([[0, 0, 10, 10], [0, 0, 5, 5]], [1, 2], [True, False])
    scores = voc_ap.evaluate([make_prediction([[0, 0, 10, 10]], [1], [0.9])], [target], 3)
    np.testing.assert_array_equal(np.isnan(scores.ap), [True, False, True])
    assert scores.mean == 0


def test_a_recall_of_three_tenths_does_not_reach_the_fourth_point():
    # Ten objects, three found: 3 / 10 < 3 * 0.1 in floating point, so recalls 0, 0.1 and 0.2 count.
    boxes = [[20.0 * n, 0, 20.0 * n + 10, 10] for n in range(10)]
    target = make_target(boxes, [1] * 10)
    found = voc_ap.evaluate([make_prediction(boxes[:3], [1] * 3, [0.9] * 3)], [target], 1, method="11point")
    assert found.ap[0] == pytest.approx(3 / 11)


@pytest.mark.parametrize("method", ["area", "11point"])
def test_nothing_anywhere(method):
    empty = voc_ap.evaluate([make_prediction([], [], [])], [make_target([], [])], 2, method=method)
    assert np.isnan(empty.ap).all() and math.isnan(empty.mean)
    assert np.isnan(voc_ap.evaluate([], [], 2, method=method).ap).all()
    missed = voc_ap.evaluate(
        [make_prediction([], [], [])], [make_target([[0, 0, 1, 1]], [2])], 2, method=method
    )
    assert missed.ap[1] == 0 and missed.mean == 0


def test_equal_scores_keep_their_order():
    target = make_target([[0, 0, 10, 10]], [1])
    hit, miss = [0, 0, 10, 10], [50, 50, 60, 60]
    assert voc_ap.evaluate([make_prediction([hit, miss], [1, 1], [0.5, 0.5])], [target], 1).ap[0] == 1
    assert voc_ap.evaluate([make_prediction([miss, hit], [1, 1], [0.5, 0.5])], [target], 1).ap[0] == 0.5


@pytest.mark.parametrize(
    ("prediction", "options", "text"),
    [
        (make_prediction([[0, 0, 1, 1]], [3], [0.5]), {}, "picture None has label 3, expected 1…2"),
        (make_prediction([[0, 0, 1, 1]], [0], [0.5]), {}, "label 0, expected 1…2"),
        (make_prediction([[0, 0, 1, 1]], [1], [float("nan")]), {}, "score that is not finite"),
        (make_prediction([], [], [], "b"), {}, "picture 'b' stands where 'a' was expected"),
        (make_prediction([], [], []), {"method": "12point"}, "'area' or '11point', got '12point'"),
        (make_prediction([], [], []), {"iou_threshold": 50}, "above 0 and at most 1, got 50"),
    ],
)  # fmt: skip
def test_refuses(prediction, options, text):
    with pytest.raises(UserError, match=text):
        voc_ap.evaluate([prediction], [make_target([[0, 0, 1, 1]], [1])], 2, **options)


def test_refuses_other_numbers_of_pictures_and_labels_of_targets():
    with pytest.raises(UserError, match="0 predictions for 1 targets"):
        voc_ap.evaluate([], [make_target([], [])], 2)
    with pytest.raises(UserError, match="target of picture 'a' has label 21, expected 1…20"):
        voc_ap.evaluate([make_prediction([], [], [])], [make_target([[0, 0, 1, 1]], [21])], 20)


def test_published_values_of_review_object_detection_metrics(real_data):
    folder = real_data / "eval_refs" / "voc_toy"
    expected = json.loads((folder / "expected.json").read_text())
    predictions, targets = [], []
    for file in sorted((folder / "gt").glob("*.xml")):
        nodes = ET.parse(file).getroot().iter("bndbox")
        truth = [[float(node.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax")] for node in nodes]
        lines = (folder / "detections" / f"{file.stem}.txt").read_text().split("\n")
        rows = [line.split() for line in lines if line]
        # 1-based inclusive corners, as the data set's own.
        shift = np.array([1, 1, 0, 0])
        targets.append(make_target(np.array(truth).reshape(-1, 4) - shift, [1] * len(truth)))
        found = np.array([row[2:] for row in rows], dtype=float).reshape(-1, 4) - shift
        predictions.append(make_prediction(found, [1] * len(rows), [float(row[1]) for row in rows]))
    for threshold, values in expected["AP"].items():
        for method, name in (("11point", "11_point"), ("area", "every_point")):
            scores = voc_ap.evaluate(predictions, targets, 1, iou_threshold=float(threshold), method=method)
            assert round(scores.mean, 4) == values[name]


def test_tensorflow_case(real_data):
    case = json.loads((real_data / "eval_refs" / "tiny_cases.json").read_text())["tensorflow_pascal"]

    def columns(entries):
        found = [[e["box"][i] for i in (1, 0, 3, 2)] for e in entries]  # ymin xmin ymax xmax
        return found, [case["classes"].index(e["label"]) + 1 for e in entries]

    targets = [
        make_target(*columns(i["gt"]), [bool(o.get("difficult")) for o in i["gt"]]) for i in case["images"]
    ]
    predictions = [
        make_prediction(*columns(i["det"]), [d["score"] for d in i["det"]]) for i in case["images"]
    ]
    scores = voc_ap.evaluate(predictions, targets, 3)
    expected = case["expected"]
    np.testing.assert_allclose(
        scores.ap, [expected["cat"], expected["dog"], expected["elephant"]], rtol=1e-12
    )
    assert scores.mean == pytest.approx(expected["mAP"], rel=1e-12)
