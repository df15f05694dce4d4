import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.nn.modules.module import register_module_forward_hook

from backbones.networks.blocks import BasicBlock, Bottleneck, PlainBlock, Projection
from backbones.networks.frozen_norm import FrozenBatchNorm2d, convolve
from backbones.networks.preact import PreActBottleneck
from backbones.norm import freeze_batchnorm

BLOCKS = {
    "plain": lambda: PlainBlock(8, 16, 2),
    "basic": lambda: BasicBlock(8, 16, 2, shortcut="B"),
    "bottleneck": lambda: Bottleneck(8, 16, 2, shortcut="B", stride_on="3x3", groups=2),
    "pre-activated": lambda: PreActBottleneck(8, 16, 2, shortcut="B", stride_on="1x1"),
}


def randomise(module: nn.Module) -> nn.Module:
    """Frozen normalisation whose every value and epsilon matter."""
    generator = torch.Generator().manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 1e-2
            for tensor, low in (
                (norm.weight, -1),
                (norm.bias, -1),
                (norm.running_mean, -1),
                (norm.running_var, 0.1),
            ):
                nn.init.uniform_(tensor, low, 2, generator=generator)
    return freeze_batchnorm(module)


def unfolded(module: nn.Module) -> nn.Module:
    """A copy that normalises after its convolutions, because somebody watches."""
    watched = copy.deepcopy(module)
    for norm in watched.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.register_forward_hook(lambda *_: None)
    return watched


def gradients(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The output, and the gradients of all parameters and of the input."""
    x = x.clone().requires_grad_()
    y = module(x)
    weights = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(2))
    return [y.detach(), *torch.autograd.grad(y, [*module.parameters(), x], weights)]


def test_by_hand():
    # Of weight 3: (3 · 5 - 1) / sqrt(3 + 1) · 10 + 2 = 72; its gradient is 5 · 10 / 2, that of x 3 · 10 / 2.
    conv, norm = nn.Conv2d(1, 1, 1, bias=False).double(), FrozenBatchNorm2d(1, eps=1.0).double()
    nn.init.constant_(conv.weight, 3.0)
    for name, value in (("weight", 10.0), ("bias", 2.0), ("running_mean", 1.0), ("running_var", 3.0)):
        norm.get_buffer(name).fill_(value)
    x = torch.full((1, 1, 1, 1), 5.0, dtype=torch.float64, requires_grad=True)
    y = convolve(conv, norm, x)
    y.backward()
    assert (y.item(), conv.weight.grad.item(), x.grad.item()) == pytest.approx((72, 25, 15))
    assert "Convolution" in type(y.grad_fn).__name__


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_give_the_values_and_gradients_of_normalisation_behind(name):
    torch.manual_seed(0)
    block = randomise(BLOCKS[name]()).double()
    x = torch.randn(2, 8, 9, 7, dtype=torch.float64)
    for ours, expected in zip(gradients(block, x), gradients(unfolded(block), x), strict=True):
        assert (ours - expected).abs().max() <= 1e-10 * expected.abs().max()


@pytest.mark.parametrize(("dtype", "folds"), [(torch.float64, True), (torch.float32, False)], ids=str)
def test_training_has_no_other_operations_than_convolutions_but_in_float32_on_a_cpu(dtype, folds):
    block = randomise(Bottleneck(8, 16, 2, shortcut="B", stride_on="3x3")).to(dtype)
    with torch.autograd.profiler.profile() as profile:
        block(torch.randn(2, 8, 9, 7, dtype=dtype, requires_grad=True))
    names = {event.name for event in profile.function_events}
    assert "aten::conv2d" in names
    assert not names & {"aten::addcmul", "aten::batch_norm"} if folds else "aten::addcmul" in names


def test_bf16_is_as_close_as_normalisation_behind():
    torch.manual_seed(0)
    block = randomise(Bottleneck(8, 16, 1, shortcut="B", stride_on="3x3"))
    x = torch.randn(2, 8, 9, 7)
    exact = gradients(block, x)
    with torch.autocast("cpu", torch.bfloat16):
        ours, behind = gradients(block, x), gradients(unfolded(block), x)
    for value, other, right in zip(ours, behind, exact, strict=True):
        assert (value - right).abs().max() <= 2 * (other - right).abs().max()


@pytest.mark.parametrize("what", ["conv", "norm"])
def test_hooks_see_what_they_would_see_otherwise(what):
    torch.manual_seed(0)
    projection = randomise(Projection(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))).double()
    seen = []
    watched = projection[0] if what == "conv" else projection[1]
    watched.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = torch.randn(1, 3, 5, 5, dtype=torch.float64)
    y = projection(x)
    torch.testing.assert_close(seen, [conv2d(x, projection[0].weight) if what == "conv" else y])


def test_hooks_of_all_modules_see_each():
    block, seen = randomise(BasicBlock(4, 4, 1, shortcut="B")).double(), []
    hook = register_module_forward_hook(lambda module, inputs, output: seen.append(module))
    try:
        block(torch.randn(1, 4, 5, 5, dtype=torch.float64))
    finally:
        hook.remove()
    assert {block.conv1, block.bn1, block.conv2, block.bn2} <= set(seen)


def test_answers_come_from_the_modules_themselves(monkeypatch):
    block, calls = randomise(BasicBlock(4, 4, 1, shortcut="B")).double(), []
    monkeypatch.setattr(FrozenBatchNorm2d, "forward", lambda norm, x: calls.append(norm) or x)
    block(torch.randn(1, 4, 5, 5, dtype=torch.float64))
    assert calls == []
    with torch.inference_mode():
        block(torch.randn(1, 4, 5, 5, dtype=torch.float64))
    assert calls == [block.bn1, block.bn2]
