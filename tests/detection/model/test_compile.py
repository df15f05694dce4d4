"""run.compile on a detector: equal losses, gradients and detections, from compiled blocks and heads."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from backbones import create_backbone
from detection.model.detector import FasterRCNN
from detection.model.fpn import build_fpn
from detection.types import Batch
from engine.blocks import blocks, compile_blocks


@pytest.fixture
def network() -> FasterRCNN:
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", out_features=("res2", "res3", "res4", "res5"))
    rpn = {"anchors_per_image": 32, "pre_nms_train": 100, "post_nms_train": 60, "pre_nms_test": 100}
    return build_fpn(
        backbone, 4, pyramid_channels=16, roi_channels=16, rpn=rpn, roi={"regions_per_image": 16}, mask={}
    )


def test_equal_to_the_plain_detector(
    network: FasterRCNN, batches: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
):
    compiled: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable:
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    torch._dynamo.reset()
    fast = copy.deepcopy(network)
    compile_blocks(fast)
    batch = batches([(96, 128), (90, 120)], [3, 0])
    shape = (*batch.valid.shape, batch.images.shape[2], batch.images.shape[3] // 8)
    batch = replace(batch, masks=torch.full(shape, 255, dtype=torch.uint8))
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
