"""Suppression on the CPU and in rounds, and where each is chosen; the kernels have their own tests."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops

from detection.model.suppression import (
    _greedy_by_kernel,
    _greedy_by_triton,
    _greedy_for,
    _greedy_in_rounds,
    _greedy_until_settled,
    _kernels_run,
    padded_nms,
)
from tests.detection.model.conftest import plain, random_boxes, row

small = st.integers(0, 6)  # few numbers make many ties, and IoUs that are exactly the threshold
small_boxes = st.lists(
    st.tuples(small, small, small, small, small, st.booleans(), st.integers(0, 2)), max_size=24
)
GREEDY = pytest.mark.parametrize("greedy", [_greedy_by_kernel, _greedy_in_rounds, _greedy_until_settled])


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
    arguments = (*plain(row(20, 3)), 0.4)
    exact = [i % 2 == 0 for i in range(20)]
    assert _greedy_by_kernel(*arguments)[0].tolist() == exact
    assert _greedy_in_rounds(*arguments)[0].tolist() == exact
    few = _greedy_in_rounds(*arguments, rounds=4)[0].tolist()
    assert few == [keep and i < 8 for i, keep in enumerate(exact)]
    assert _greedy_in_rounds(*arguments, rounds=4, settled=True)[0].tolist() == exact


def test_nms_between_groups():
    boxes, valid = torch.tensor([[[0.0, 0, 9, 9]]]).repeat(1, 4, 1), torch.ones(1, 4, dtype=torch.bool)
    scores, groups = torch.tensor([[0.1, 0.4, 0.3, 0.2]]), torch.tensor([[5, 7, 5, 7]])
    index, kept = padded_nms(boxes, scores, valid, threshold=0.5, count=3, groups=groups)
    assert index[0, :2].tolist() == [1, 2]
    assert kept.tolist() == [[True, True, False]]


def test_kernels_are_for_nvidia():
    assert _greedy_for(torch.device("cpu")) is _greedy_by_kernel
    assert _greedy_for(torch.device("mps")) is _greedy_until_settled is _greedy_for(torch.device("xpu"))
    if torch.version.hip is None:
        assert _greedy_for(torch.device("cuda")) is _greedy_by_triton


def test_without_triton_it_warns_and_takes_rounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "detection.model.suppression_kernels", None)
    arguments = (*plain(random_boxes(3, 70, seed=1)), 0.5)
    _kernels_run.cache_clear()
    try:
        with pytest.warns(UserWarning, match="takes rounds.*ModuleNotFoundError.*need Triton"):
            keep = _greedy_by_triton(*arguments)
    finally:
        _kernels_run.cache_clear()
    assert torch.equal(keep, _greedy_in_rounds(*arguments))
