"""Blocks compiled or recomputed give what they give as they are."""

import copy

import pytest
import torch
from torch import Tensor, nn

from backbones import create_model
from benchmarks.backbone_speed import kept_for_backward
from training.compile import blocks, compile_blocks, recompute_blocks


def step(model: nn.Module) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Logits, gradients and buffers of one training pass."""
    torch.manual_seed(1)
    images = torch.randn(4, 3, 16, 16)
    logits = model(images)
    logits.square().mean().backward()
    return logits.detach(), {n: p.grad for n, p in model.named_parameters()}, dict(model.named_buffers())


def test_the_blocks_of_networks():
    assert len(blocks(create_model("resnet20_cifar"))) == 9
    assert len(blocks(create_model("resnet50"))) == 3 + 4 + 6 + 3
    assert len(blocks(create_model("plain18"))) == 8
    assert blocks(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())) == []


@pytest.mark.parametrize("name", ["resnet8_cifar", "preact_resnet20_cifar", "resnet18", "highway19_cifar"])
def test_recomputing_changes_nothing(name: str):
    torch.manual_seed(0)
    plain = create_model(name, num_classes=5)
    frugal = copy.deepcopy(plain)
    recompute_blocks(frugal)
    for ours, theirs in zip(step(frugal), step(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert frugal.state_dict().keys() == plain.state_dict().keys()


def test_recomputing_keeps_the_inputs_of_the_blocks_alone():
    plain = create_model("resnet44_cifar")
    frugal = copy.deepcopy(plain)
    recompute_blocks(frugal)
    images = torch.randn(2, 3, 32, 32)
    # 2 · 4 bytes · (7 blocks of 16 · 32² and halves and quarters of it) inputs; four times as much inside.
    assert kept_for_backward(frugal, images) < kept_for_backward(plain, images) / 3


def test_evaluation_does_not_recompute():
    model = create_model("resnet8_cifar")
    recompute_blocks(model)
    model.eval()
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 32, 32)).shape == (1, 10)


def test_equal_blocks_share_what_is_compiled(monkeypatch: pytest.MonkeyPatch):
    compiled: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]):
        compiled.append(graph)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: real(function, backend=backend))
    torch._dynamo.reset()
    torch.manual_seed(0)
    plain = create_model("resnet32_cifar")
    fast = copy.deepcopy(plain)
    compile_blocks(fast)
    for ours, theirs in zip(step(fast), step(plain), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(blocks(fast)) == 15
    assert len(compiled) == 5, "the first block and the others of stage 2 and 3, and those of stage 1"


def test_a_network_without_blocks_is_compiled_whole(monkeypatch: pytest.MonkeyPatch):
    model = nn.Linear(2, 2)
    monkeypatch.setattr(torch, "compile", lambda function: lambda x: function(x) + 1)
    expected = model(torch.ones(1, 2)) + 1
    compile_blocks(model)
    assert torch.equal(model(torch.ones(1, 2)), expected)
