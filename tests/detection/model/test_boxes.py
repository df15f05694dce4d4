import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops
from torchvision.models.detection._utils import BoxCoder

from detection.model.boxes import (
    MAX_LOG_SCALE,
    _greedy_by_kernel,
    _greedy_in_rounds,
    at_least,
    box_iou,
    clip_boxes,
    decode_boxes,
    encode_boxes,
    padded_nms,
)

corner, side = st.floats(0, 1000, width=32), st.floats(8, 400, width=32)
small = st.integers(0, 6)  # few numbers make many ties, and IoUs that are exactly the threshold
small_boxes = st.lists(
    st.tuples(small, small, small, small, small, st.booleans(), st.integers(0, 2)), max_size=24
)
GREEDY = pytest.mark.parametrize("greedy", [_greedy_by_kernel, _greedy_in_rounds])
box_strategy = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


def random_boxes(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    corners = torch.rand(*shape, 2, generator=draw) * 60
    return torch.cat([corners, corners + 1 + torch.rand(*shape, 2, generator=draw) * 50], dim=-1)


def test_iou_by_hand():
    # Overlap 1 x 2 = 2 of areas 4 and 4: 2 / (4 + 4 - 2) = 1/3; the second pair only touches.
    iou = box_iou(torch.tensor([[[0.0, 0, 2, 2]]]), torch.tensor([[[1.0, 0, 3, 2], [2.0, 0, 4, 2]]]))
    assert iou.shape == (1, 1, 2)
    torch.testing.assert_close(iou[0, 0], torch.tensor([1 / 3, 0.0]))


def test_iou_equal_to_torchvision_and_nan_without_area():
    boxes1, boxes2 = random_boxes(3, 5, seed=1), random_boxes(3, 7, seed=2)
    expected = torch.stack([ops.box_iou(a, b) for a, b in zip(boxes1, boxes2, strict=True)])
    assert torch.equal(box_iou(boxes1, boxes2), expected)
    assert box_iou(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)).isnan().all()


def test_encode_by_hand():
    # Anchor centre (5, 10), size 10 x 20; box centre (10, 10), size 20 x 20.
    # dx = 5 / 10, dy = 0 / 20, dw = ln(20 / 10), dh = ln(20 / 20); times 10 and 5.
    deltas = encode_boxes(torch.tensor([0.0, 0, 20, 20]), torch.tensor([0.0, 0, 10, 20]), weights=(10.0, 5.0))
    torch.testing.assert_close(deltas, torch.tensor([5.0, 0.0, 5 * math.log(2), 0.0]))


@settings(deadline=None)
@given(st.lists(st.tuples(box_strategy, box_strategy), min_size=1, max_size=8))
def test_decode_inverts_encode(pairs):
    boxes, anchors = (torch.tensor(column) for column in zip(*pairs, strict=True))
    for weights in ((1.0, 1.0), (10.0, 5.0)):
        decoded = decode_boxes(encode_boxes(boxes, anchors, weights=weights), anchors, weights=weights)
        torch.testing.assert_close(decoded, boxes, rtol=1e-4, atol=5e-3)


def test_coding_equal_to_torchvision():
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    boxes, anchors = random_boxes(50, seed=1), random_boxes(50, seed=2)
    deltas = encode_boxes(boxes, anchors, weights=(10.0, 5.0))
    torch.testing.assert_close(deltas, coder.encode_single(boxes, anchors))
    deltas = 10 * torch.randn(50, 4, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        decode_boxes(deltas, anchors, weights=(10.0, 5.0)), coder.decode_single(deltas, anchors)
    )


def test_decode_never_overflows():
    decoded = decode_boxes(torch.tensor([0.0, 0, 1e4, 1e4]), torch.tensor([0.0, 0, 16, 16]))
    torch.testing.assert_close(decoded[2:] - decoded[:2], torch.full((2,), 16 * math.exp(MAX_LOG_SCALE)))


def test_clip_and_size_per_picture():
    boxes = torch.tensor([[[-5.0, -5, 50, 50]]]).repeat(2, 1, 1)
    clipped = clip_boxes(boxes, torch.tensor([[20, 30], [40, 10]]))
    assert clipped.tolist() == [[[0, 0, 30, 20]], [[0, 0, 10, 40]]]
    assert at_least(clipped, 11).tolist() == [[True], [False]]


def test_nms_equal_to_torchvision_on_the_valid_boxes():
    boxes, draw = random_boxes(4, 80, seed=5), torch.Generator().manual_seed(6)
    scores, valid = torch.rand(4, 80, generator=draw), torch.rand(4, 80, generator=draw) < 0.6
    valid[3] = False
    index, kept = padded_nms(boxes, scores, valid, threshold=0.3, count=25)
    assert index.shape == kept.shape == (4, 25)
    for i in range(4):
        rows = valid[i].nonzero()[:, 0]
        expected = rows[ops.nms(boxes[i, rows], scores[i, rows], 0.3)][:25]
        assert index[i, kept[i]].tolist() == expected.tolist()
        assert kept[i, : len(expected)].all()
    assert kept.sum(dim=1).tolist()[3] == 0


def test_nms_pads_beyond_its_boxes():
    index, kept = padded_nms(
        random_boxes(1, 3), torch.rand(1, 3), torch.ones(1, 3, dtype=torch.bool), threshold=1.0, count=5
    )
    assert kept.tolist() == [[True, True, True, False, False]]
    assert index.max() < 3


def alone(boxes: torch.Tensor, scores: torch.Tensor, threshold: float, rows: torch.Tensor) -> torch.Tensor:
    """(M,) bool, what torchvision keeps of these rows."""
    keep = torch.zeros(len(boxes), dtype=torch.bool)
    keep[rows[ops.nms(boxes[rows], scores[rows], threshold)]] = True
    return keep


@GREEDY
@settings(deadline=None, max_examples=200)
@given(boxes=small_boxes, threshold=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.6, 0.7]))
def test_greedy_equal_to_torchvision_with_ties_groups_and_invalid_boxes(
    greedy, boxes: list, threshold: float
):
    """Sides may be 0, where the IoU of two boxes is 0 / 0."""
    table = torch.tensor([row[:5] for row in boxes], dtype=torch.float32).view(-1, 5)
    corners, scores = torch.cat([table[:, :2], table[:, :2] + table[:, 2:4]], dim=1), table[:, 4]
    valid = torch.tensor([row[5] for row in boxes], dtype=torch.bool)
    groups = torch.tensor([row[6] for row in boxes], dtype=torch.int64)
    keep = greedy(corners[None], scores[None], valid[None], groups[None], threshold)[0]
    parts = [alone(corners, scores, threshold, (valid & (groups == k)).nonzero()[:, 0]) for k in range(3)]
    assert keep.tolist() == torch.stack(parts).any(dim=0).tolist()


@GREEDY
def test_threshold_is_not_rounded(greedy):
    """The IoU 3 / 10 in float32 is 0.3000000119, above 0.3; compared in float32 it would not be."""
    boxes = torch.tensor([[[0.0, 0, 10, 1], [0.0, 0, 3, 1]]])
    valid = torch.ones(1, 2, dtype=torch.bool)
    keep = greedy(boxes, torch.tensor([[1.0, 0.5]]), valid, torch.zeros(1, 2, dtype=torch.int64), 0.3)
    assert keep.tolist() == [[True, False]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_greedy_in_rounds_over_blocks(dtype: torch.dtype):
    boxes, scores = random_boxes(2, 300, seed=7).to(dtype), torch.rand(2, 300, dtype=dtype)
    valid, groups = torch.rand(2, 300) < 0.9, torch.randint(0, 3, (2, 300))
    expected = _greedy_by_kernel(boxes, scores, valid, groups, 0.5)
    assert torch.equal(_greedy_in_rounds(boxes, scores, valid, groups, 0.5, block=64), expected)
    assert expected.sum() < valid.sum() - 100


def test_greedy_in_rounds_leaves_out_what_lies_behind_long_chains():
    """Each box of the row suppresses the next, if it is kept: every other one should be."""
    left = torch.arange(20.0)[:, None]
    boxes = torch.cat([left, left * 0, left + 3, left * 0 + 1], dim=1)[None]
    scores, valid = torch.arange(20.0).flip(0)[None], torch.ones(1, 20, dtype=torch.bool)
    arguments = (boxes, scores, valid, torch.zeros(1, 20, dtype=torch.int64), 0.4)
    exact = [i % 2 == 0 for i in range(20)]
    assert _greedy_by_kernel(*arguments)[0].tolist() == exact
    assert _greedy_in_rounds(*arguments)[0].tolist() == exact
    few = _greedy_in_rounds(*arguments, rounds=4)[0].tolist()
    assert few == [keep and i < 8 for i, keep in enumerate(exact)]


def test_nms_between_groups():
    boxes, valid = torch.tensor([[[0.0, 0, 9, 9]]]).repeat(1, 4, 1), torch.ones(1, 4, dtype=torch.bool)
    scores, groups = torch.tensor([[0.1, 0.4, 0.3, 0.2]]), torch.tensor([[5, 7, 5, 7]])
    index, kept = padded_nms(boxes, scores, valid, threshold=0.5, count=3, groups=groups)
    assert index[0, :2].tolist() == [1, 2]
    assert kept.tolist() == [[True, True, False]]
