"""run.compile on a detector: equal losses, gradients and detections, from compiled blocks and heads."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from detection.model.detector import FasterRCNN
from detection.types import Batch
from training.compile import blocks, compile_blocks


@pytest.mark.parametrize("options", [{}, {"stages": 3, "context": True, "testing": {"refine": 1}}], ids=str)
def test_equal_to_the_plain_detector(
    detectors: Callable[..., FasterRCNN],
    batches: Callable[..., Batch],
    with_masks: Callable[[Batch], Batch],
    monkeypatch: pytest.MonkeyPatch,
    options: dict,
):
    compiled: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable:
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    torch._dynamo.reset()
    network, fast = (detectors("mask", **options) for _ in range(2))
    compile_blocks(fast)
    batch = with_masks(batches([(96, 128), (90, 120)], [3, 0]))
    assert gradients(fast, batch) == pytest.approx(gradients(network, batch), rel=1e-4)
    with torch.no_grad():
        for ours, theirs in zip(fast.eval()(batch), network.eval()(batch), strict=True):
            torch.testing.assert_close(ours, theirs)
    called = {node.target for graph in compiled for node in graph.graph.nodes if node.op == "call_function"}
    assert len(compiled) > len(blocks(fast)) and torch.conv_transpose2d in called


def gradients(model: FasterRCNN, batch: Batch) -> list[float]:
    """Losses, and the norm of every parameter's gradient."""
    losses = model.train()(batch)
    total = torch.stack(list(losses.values())).sum()
    norms = [grad.norm().item() for grad in torch.autograd.grad(total, list(model.parameters()))]
    return [value.item() for value in losses.values()] + norms
