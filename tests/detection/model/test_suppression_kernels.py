"""The kernels for GPUs: interpreted, compiled without a GPU, and on one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from detection.model.boxes import box_iou
from detection.model.suppression import _greedy_by_kernel, _greedy_by_triton, _kernels_run, padded_nms
from tests.detection.model.conftest import plain, random_boxes, row


def lattice(count: int, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes of few coordinates, sides of 0 among them, of few scores, in three groups, some invalid."""
    draw = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 7, (count, size, 4), generator=draw).float()
    boxes = torch.cat([corners[..., :2], corners[..., :2] + corners[..., 2:]], dim=-1)
    scores = torch.randint(0, 20, (count, size), generator=draw).float()
    valid = torch.rand(count, size, generator=draw) < 0.8
    return boxes, scores, valid, torch.randint(0, 3, (count, size), generator=draw)


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
