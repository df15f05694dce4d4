import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops
from torchvision.models.detection._utils import BoxCoder

from detection.model.boxes import (
    MAX_LOG_SCALE,
    at_least,
    box_iou,
    clip_boxes,
    decode_boxes,
    encode_boxes,
)

corner, side = st.floats(0, 1000, width=32), st.floats(8, 400, width=32)
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
