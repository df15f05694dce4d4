"""No step of training or detection waits for the GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from backbones.spec import scale_and_shift
from detection.model import anchors
from detection.model.detector import FasterRCNN
from detection.types import Batch

TWICE: dict = {"context": True, "testing": {"refine": 1}}  # with voting
KINDS = pytest.mark.parametrize(
    ("kind", "options"),
    [("c4", {}), ("fpn", {}), ("mask", {}), ("c4", TWICE), ("mask", TWICE), ("mask", {"stages": 3})],
    ids=str,
)


def step(model: FasterRCNN, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    torch.stack(list(model.train()(batch).values())).sum().backward()
    optimizer.step()


@contextmanager
def waiting_forbidden() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@KINDS
@pytest.mark.parametrize("bf16", [False, True])
def test_nothing_waits(
    detectors: Callable,
    batches: Callable[..., Batch],
    with_masks: Callable,
    kind: str,
    options: dict,
    bf16: bool,
):
    model = detectors(kind, **options).cuda()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    first, second = (
        with_masks(batches([(160, 224), (150, 215)], counts, seed=i)).to("cuda")
        for i, counts in enumerate([[3, 0], [0, 5]])
    )
    with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
        step(model, first, optimizer)  # anchors' shapes are copied once
        with torch.no_grad():
            model.eval()(first)
        with waiting_forbidden():
            step(model, second, optimizer)
            with torch.no_grad():
                model.eval()(second)


class Copies(TorchDispatchMode):
    """Collects what is copied from the host."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):  # noqa: ANN001, ANN204
        result = function(*arguments, **(keywords or {}))
        if function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            devices = [a.device.type for a in (result, *arguments) if isinstance(a, torch.Tensor)]
            if set(devices) == {"cpu", "cuda"}:
                self.shapes.append(tuple(result.shape))
        return result


@KINDS
def test_no_shape_depends_on_values(
    detectors: Callable, batches: Callable[..., Batch], with_masks: Callable, kind: str, options: dict
):
    """Without a GPU, on tensors that only have a shape: whatever reads a value raises."""
    batch, model = with_masks(batches([(160, 224), (150, 215)], [3, 0])), detectors(kind, **options)
    forget_copied()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), Copies() as copies, torch.no_grad():
            model, batch = model.to("cuda"), batch.to("cuda")
            model.rpn.anchors(model.extract(batch))  # their shapes are copied once, as the mean colour
            copies.shapes.clear()
            losses, detections = model.train()(batch), model.eval()(batch)
            assert {value.device.type for value in (*losses.values(), detections.boxes)} == {"cuda"}
            assert copies.shapes == []
    finally:
        forget_copied()


def test_reading_a_value_raises():
    with FakeTensorMode(), pytest.raises(Exception, match="item|nonzero"):
        torch.ones(3, device="cuda").nonzero()
    with FakeTensorMode(allow_non_fake_inputs=True), Copies() as copies:
        torch.ones(3).to("cuda")
    assert copies.shapes == [(3,)]


def forget_copied() -> None:
    anchors._shapes.cache_clear()
    scale_and_shift.cache_clear()
