"""Suppression and weighted boxes fusion against slow, obvious versions and numbers worked by hand."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from detection.improve.box_fusion import FUSION_IOU, fuse, suppress

Box = tuple[float, float, float, float]
Row = tuple[Box, float, int]  # box, score, label


def looks(number: int) -> Callable[[Tensor], Tensor]:
    return lambda boxes: torch.full((len(boxes),), number)


def tensors(rows: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return (
        torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float64),
        torch.tensor(labels, dtype=torch.int64),
    )


def iou(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(wide, 0) * max(high, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def suppressed(rows: list[Row], threshold: float) -> list[int]:
    """The rows kept, best first, by the definition."""
    kept: list[int] = []
    for row in sorted(range(len(rows)), key=lambda row: -rows[row][1]):
        rivals = [one for one in kept if rows[one][2] == rows[row][2]]
        if all(iou(rows[row][0], rows[one][0]) <= threshold for one in rivals):
            kept.append(row)
    return kept


def fused(rows: list[Row], number: int, threshold: float) -> list[tuple[float, int, list[float], list[int]]]:
    """Score, label, box and members of each object, best first, with every mean computed anew."""
    members: list[list[int]] = []

    def mean(of: list[int]) -> tuple[float, ...]:
        total = sum(rows[row][1] for row in of)
        return tuple(sum(rows[row][1] * rows[row][0][i] for row in of) / total for i in range(4))

    for row in sorted(range(len(rows)), key=lambda row: -rows[row][1]):
        own = [one for one in members if rows[one[0]][2] == rows[row][2]]
        overlaps = [iou(mean(one), rows[row][0]) for one in own]  # type: ignore[arg-type]
        if overlaps and max(overlaps) > threshold:
            own[overlaps.index(max(overlaps))].append(row)
        else:
            members.append([row])
    found = []
    for of in members:
        score = sum(rows[row][1] for row in of) / len(of) * min(len(of), number) / number
        found.append((score, rows[of[0]][2], list(mean(of)), of))
    return sorted(found, key=lambda one: -one[0])


# Sixteenths of a picture, so that boxes meet often; different scores, so that the order is certain.
corner = st.integers(0, 12)
box = st.tuples(corner, corner, st.integers(1, 9), st.integers(1, 9)).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)
row = st.tuples(box, st.integers(1, 4000).map(lambda score: score / 4001), st.integers(1, 3))
rows_of_boxes = st.lists(row, max_size=14, unique_by=lambda one: one[1])


@settings(deadline=None, max_examples=50)
@given(rows_of_boxes, st.sampled_from([0.3, 0.5, 0.55]))
def test_suppression_as_defined(rows: list[Row], threshold: float):
    boxes, scores, labels = tensors(rows)
    found = suppress(boxes, scores, labels, threshold)
    kept = suppressed(rows, threshold)
    assert [members.tolist() for members in found.members] == [[row] for row in kept]
    for values, given_values in zip(found[:3], (boxes, scores, labels), strict=True):
        assert torch.equal(values, given_values[kept])


@settings(deadline=None, max_examples=50)
@given(rows_of_boxes, st.integers(1, 5))
def test_fusion_as_defined(rows: list[Row], number: int):
    # 0.5501 is no ratio of two such areas, so that no rounding decides who joins whom first.
    found = fuse(*tensors(rows), looks(number), threshold=0.5501)
    expected = fused(rows, number, 0.5501)
    assert len(found.scores) == len(expected)
    torch.testing.assert_close(found.scores.tolist(), [one[0] for one in expected])
    # Of equal final scores either may come first.
    assert sorted(members.tolist() for members in found.members) == sorted(one[3] for one in expected)
    of_members = {tuple(one[3]): one for one in expected}
    for i, members in enumerate(found.members):
        score, label, mean, _ = of_members[tuple(members.tolist())]
        assert found.labels[i] == label and found.scores[i].item() == pytest.approx(score)
        assert found.boxes[i].tolist() == pytest.approx(mean)


def test_fusion_by_hand():
    # Two looks. The first two boxes: intersection 9 x 10, union 110, IoU 9 / 11 = 0.82 > 0.55, one object:
    #   x1 = (0.8 · 0 + 0.4 · 1) / 1.2 = 1/3, x2 = 10 + 1/3, score (0.8 + 0.4) / 2 · 2/2 = 0.6.
    # The third is of another class and was found by one of the two: 0.9 · 1/2 = 0.45.
    rows = [((0.0, 0, 10, 10), 0.8, 1), ((1.0, 0, 11, 10), 0.4, 1), ((0.0, 0, 10, 10), 0.9, 2)]
    found = fuse(*tensors(rows), looks(2))
    assert found.labels.tolist() == [1, 2] and [rows.tolist() for rows in found.members] == [[0, 1], [2]]
    assert found.scores.tolist() == pytest.approx([0.6, 0.45])
    assert found.boxes.flatten().tolist() == pytest.approx([1 / 3, 0, 10 + 1 / 3, 10, 0, 0, 10, 10])


def test_fusion_of_a_recorded_case():
    # weighted_boxes_fusion of ensemble-boxes 1.0.9 on three models in a unit picture, iou_thr 0.55; it gave
    # these digits in single precision.
    models = [
        [((0.10, 0.10, 0.50, 0.50), 0.90, 1), ((0.60, 0.60, 0.90, 0.90), 0.30, 2)],
        [((0.12, 0.09, 0.52, 0.49), 0.75, 1), ((0.14, 0.12, 0.47, 0.51), 0.20, 1)],
        [((0.61, 0.58, 0.90, 0.91), 0.85, 2), ((0.00, 0.00, 0.20, 0.20), 0.40, 1)],
    ]
    found = fuse(*tensors([row for model in models for row in model]), looks(3))
    assert found.labels.tolist() == [1, 2, 1]
    assert found.scores.tolist() == pytest.approx([0.6166666746, 0.3833333254, 0.1333333333], abs=1e-6)
    expected = [
        [0.1124324352, 0.0981081128, 0.5048648119, 0.4970270097],
        [0.6073912978, 0.5852173567, 0.8999999762, 0.9073913693],
        [0.0, 0.0, 0.2, 0.2],
    ]
    assert found.boxes.tolist() == [pytest.approx(box, abs=1e-6) for box in expected]


def test_more_boxes_than_looks_do_not_raise_a_score():
    rows = [((0.0, 0, 10, 10), 0.8, 1), ((0.0, 0, 10, 10), 0.6, 1), ((0.0, 0, 10, 10), 0.4, 1)]
    assert fuse(*tensors(rows), looks(2)).scores.tolist() == pytest.approx([0.6])


def test_looks_are_asked_with_the_mean_boxes():
    rows = [((0.0, 0, 10, 10), 0.8, 1), ((50.0, 0, 60, 10), 0.6, 1)]
    scores = fuse(*tensors(rows), lambda boxes: torch.where(boxes[:, 0] > 20, 3, 1)).scores
    assert scores.tolist() == pytest.approx([0.8, 0.2])


def test_the_threshold_itself_does_not_join():
    # 11 of 20 pixels are shared: IoU 0.55, which is not above 0.55.
    rows = [((0.0, 0, 20, 1), 0.9, 1), ((0.0, 0, 11, 1), 0.8, 1)]
    assert FUSION_IOU == 0.55 and len(fuse(*tensors(rows), looks(1)).scores) == 2
    rows[1] = ((0.0, 0, 11.001, 1), 0.8, 1)
    assert len(fuse(*tensors(rows), looks(1)).scores) == 1


@pytest.mark.parametrize(
    "merge", [lambda *given: suppress(*given, 0.5), lambda *given: fuse(*given, looks(2))]
)
def test_without_boxes(merge: Callable):
    boxes, scores, labels, members = merge(
        torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    )
    assert boxes.shape == (0, 4) and boxes.dtype == torch.float32 and members == []
    assert scores.shape == labels.shape == (0,) and labels.dtype == torch.int64
