"""Suppression on the CPU, in rounds, and by the kernels: interpreted, compiled, and on a GPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import ops

from detection.model.boxes import box_iou
from detection.model.suppression import (
    _greedy_by_kernel,
    _greedy_by_triton,
    _greedy_for,
    _greedy_in_rounds,
    _kernels_run,
    padded_nms,
)

small = st.integers(0, 6)  # few numbers make many ties, and IoUs that are exactly the threshold
small_boxes = st.lists(
    st.tuples(small, small, small, small, small, st.booleans(), st.integers(0, 2)), max_size=24
)
GREEDY = pytest.mark.parametrize("greedy", [_greedy_by_kernel, _greedy_in_rounds])


def random_boxes(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    corners = torch.rand(*shape, 2, generator=draw) * 60
    return torch.cat([corners, corners + 1 + torch.rand(*shape, 2, generator=draw) * 50], dim=-1)


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


def test_nms_between_groups():
    boxes, valid = torch.tensor([[[0.0, 0, 9, 9]]]).repeat(1, 4, 1), torch.ones(1, 4, dtype=torch.bool)
    scores, groups = torch.tensor([[0.1, 0.4, 0.3, 0.2]]), torch.tensor([[5, 7, 5, 7]])
    index, kept = padded_nms(boxes, scores, valid, threshold=0.5, count=3, groups=groups)
    assert index[0, :2].tolist() == [1, 2]
    assert kept.tolist() == [[True, True, False]]


def lattice(count: int, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes of few coordinates, sides of 0 among them, of few scores, in three groups, some invalid."""
    draw = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 7, (count, size, 4), generator=draw).float()
    boxes = torch.cat([corners[..., :2], corners[..., :2] + corners[..., 2:]], dim=-1)
    scores = torch.randint(0, 20, (count, size), generator=draw).float()
    valid = torch.rand(count, size, generator=draw) < 0.8
    return boxes, scores, valid, torch.randint(0, 3, (count, size), generator=draw)


def plain(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The boxes (N, M, 4), the best first, all valid and of one group."""
    scores = -torch.arange(boxes.shape[1]).float().expand(boxes.shape[:2])
    return (
        boxes,
        scores,
        torch.ones_like(scores, dtype=torch.bool),
        torch.zeros_like(scores, dtype=torch.int64),
    )


def row(size: int, width: float) -> Tensor:
    """(1, size, 4), a pixel apart: 3 pixels wide, each suppresses the next at 0.4, every other one stays."""
    left = torch.arange(float(size))[:, None]
    return torch.cat([left, left * 0, left + width, left * 0 + 1], dim=1)[None]


def few_valid(count: int, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """None in the last picture, of scores that would come first."""
    boxes, scores, _, groups = lattice(count, size, seed)
    valid = torch.arange(size).expand(count, size) % 5 == 0
    valid = valid & (torch.arange(count)[:, None] < count - 1)
    return boxes, torch.where(valid, scores, 100.0), valid, groups


random = plain(random_boxes(3, 70, seed=1))
CASES: dict[str, tuple[Tensor, Tensor, Tensor, Tensor, float]] = {
    "lattice at 0.5": (*lattice(2, 150, seed=2), 0.5),
    "lattice at 0.3": (*lattice(1, 130, seed=3), 0.3),
    "lattice at 0": (*lattice(1, 64, seed=4), 0.0),
    "random": (*random, 0.5),
    "random in float64": (random[0].double(), *random[1:], 0.6),
    "each suppresses the next": (*plain(row(260, 3)), 0.4),
    "each suppresses many": (*plain(row(70, 8)), 0.4),
    "duplicates": (*plain(random_boxes(1, 1).expand(1, 129, 4)), 0.99),
    "few valid": (*few_valid(2, 200, seed=5), 0.3),
    "above the threshold in float64 alone": (
        *plain(torch.tensor([[[0, 0, 10, 1], [0, 0, 3.00000005, 1]]], dtype=torch.float64)),
        0.3,
    ),
    "above the threshold, which float32 rounds up": (
        *plain(torch.tensor([[[0.0, 0, 10, 1], [0.0, 0, 3, 1]]])),
        0.3,
    ),
    "one": (*plain(random_boxes(3, 1)), 0.5),
    "none": (*plain(random_boxes(2, 0)), 0.5),
}
SCRIPT = """
import sys
import torch
from detection.model import suppression_kernels as kernels
from detection.model.suppression import _greedy_by_triton
kernels.CHUNK = kernels.BLOCK  # so that there are several; and the interpreter is slow
torch.save([_greedy_by_triton(*case) for case in torch.load(sys.argv[1])], sys.argv[2])
"""


@pytest.fixture(scope="module")
def interpreted(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What the kernels keep in each case by Triton's interpreter, which must be chosen before an import."""
    pytest.importorskip("triton", minversion="3.7", reason="older interpreters fail with numpy 2.4")
    folder = tmp_path_factory.mktemp("kernels")
    cases, result = folder / "cases.pt", folder / "result.pt"
    torch.save(list(CASES.values()), cases)
    subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", SCRIPT, cases, result],
        cwd=root,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        check=True,
    )
    return dict(zip(CASES, torch.load(result), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_kernels_are_exact(interpreted: dict[str, Tensor], case: str):
    expected = _greedy_by_kernel(*CASES[case])
    assert torch.equal(interpreted[case], expected)
    valid = CASES[case][2]
    assert expected.sum() < valid.sum() or case in ("one", "none")


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_kernels_compile_without_fused_multiply_adds(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """For an H100, without having one: the interpreter takes more than the compiler does."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from detection.model import suppression_kernels as kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    types = {"valid": "*u8", "groups": "*i64", "words": "*i64", "keep": "*u8", "size": "i32"}
    types |= {"boxes": f"*{dtype}", "limits": f"*{dtype}"}
    for kernel in (kernels._compare, kernels._settle):
        source = ASTSource(kernel, {name: types[name] for name in kernel.arg_names})
        target = GPUTarget("cuda", 90, 32)
        code = triton.compile(source, target=target, options=kernels.EXACT).asm["ptx"]
        assert "fma." not in code
        assert all(".rn." in division for division in re.findall(r"div\.\S*f\d\d", code))


def test_kernels_are_for_nvidia():
    assert _greedy_for(torch.device("cpu")) is _greedy_by_kernel
    assert _greedy_for(torch.device("mps")) is _greedy_in_rounds
    if torch.version.hip is None:
        assert _greedy_for(torch.device("cuda")) is _greedy_by_triton


def test_without_triton_it_warns_and_takes_rounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "detection.model.suppression_kernels", None)
    _kernels_run.cache_clear()
    try:
        with pytest.warns(UserWarning, match="takes rounds.*ModuleNotFoundError.*need Triton"):
            keep = _greedy_by_triton(*CASES["random"])
    finally:
        _kernels_run.cache_clear()
    assert torch.equal(keep, _greedy_in_rounds(*CASES["random"]))


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_kernels_are_exact_on_a_gpu(case: str):
    assert torch.equal(on_gpu(*CASES[case]), _greedy_by_kernel(*CASES[case]))


def on_gpu(boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, threshold: float) -> Tensor:
    assert _kernels_run(torch.device("cuda", torch.cuda.current_device()))
    return _greedy_by_triton(boxes.cuda(), scores.cuda(), valid.cuda(), groups.cuda(), threshold).cpu()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "threshold"), [(5000, 0.7), (20_000, 0.5)])
def test_kernels_are_exact_with_many_boxes(size: int, threshold: float, dtype: torch.dtype):
    boxes, scores = random_boxes(2, size, seed=8).to(dtype), random_boxes(2, size, seed=9)[..., 0]
    valid, groups = lattice(2, size, seed=10)[2:]
    expected = _greedy_by_kernel(boxes, scores, valid, groups, threshold)
    assert torch.equal(on_gpu(boxes, scores, valid, groups, threshold), expected)


@pytest.mark.gpu
def test_kernels_are_exact_behind_a_long_chain():
    arguments = (*plain(row(5000, 3)), 0.4)
    assert on_gpu(*arguments)[0].tolist() == [i % 2 == 0 for i in range(5000)]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_iou_is_the_same_to_the_last_bit_on_a_gpu(dtype: torch.dtype):
    """The threshold is a pair's IoU, which is not above it, and then the next number below."""
    for boxes in random_boxes(100, 1, 2, seed=11).to(dtype):
        iou = box_iou(boxes[:, :1], boxes[:, 1:])
        below = iou.nextafter(torch.zeros_like(iou))
        if iou > 0:
            assert on_gpu(*plain(boxes), iou.item()).tolist() == [[True, True]]
            assert on_gpu(*plain(boxes), below.item()).tolist() == [[True, False]]


@pytest.mark.gpu
def test_nms_in_a_cuda_graph():
    first, second = lattice(2, 5000, seed=12), lattice(2, 5000, seed=13)
    static = [values.cuda() for values in first]

    def step() -> tuple[Tensor, Tensor]:
        return padded_nms(*static[:3], threshold=0.5, count=1000, groups=static[3])

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    for arguments in (second, first):
        for values, new in zip(static, arguments, strict=True):
            values.copy_(new)
        graph.replay()
        expected = padded_nms(*arguments[:3], threshold=0.5, count=1000, groups=arguments[3])
        assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))
