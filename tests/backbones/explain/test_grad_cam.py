"""Grad-CAM and guided backpropagation beside plain formulas."""

import builtins
from typing import Any

import pytest
import torch
from torch import nn

from backbones import create_model
from backbones.explain.grad_cam import explain_answers, explain_maps, spread_heat
from backbones.features import FeatureNetwork
from foundation.errors import UserError

NAMES = ["resnet8_cifar", "plain8_cifar", "preact_resnet8_cifar"]


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_grad_cam_is_the_papers_formula(name, pictures):
    torch.manual_seed(0)
    network: Any = create_model(name, num_classes=3).eval()
    targets = torch.tensor([2, 0])
    found = explain_answers(network, pictures, targets, "res4").grad_cam
    # The classifier behind res4 is the mean over places and fc: alpha of a channel is its weight in fc over
    # the number of places.
    with torch.no_grad():
        maps = FeatureNetwork(network, ["res4"])(pictures)["res4"]
    alpha = network.fc.weight[targets] / maps[0, 0].numel()
    cam = (alpha[:, :, None, None] * maps).sum(1).relu()
    assert cam.max() > 0
    torch.testing.assert_close(found[:, ::4, ::4], cam, rtol=1e-4, atol=1e-8)  # at the cells' places


class GuidedRelu(torch.autograd.Function):
    """Springenberg et al. 2015, figure 1: the gradient passes where both it and the input are positive."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        context.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = context.saved_tensors
        return gradient.clamp(min=0) * (x > 0)


@pytest.mark.parametrize("name", NAMES)
def test_guided_backpropagation_changes_every_relu(name, pictures, monkeypatch):
    torch.manual_seed(0)
    network = create_model(name, num_classes=3).eval()
    targets = torch.tensor([2, 0])
    found = explain_answers(network, pictures, targets, "res3")
    for module in ("backbones.networks.blocks", "backbones.networks.preact"):
        monkeypatch.setattr(f"{module}.relu_", GuidedRelu.apply)
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: GuidedRelu.apply(x))
    x = pictures.clone().requires_grad_()
    network(x).gather(1, targets[:, None]).sum().backward()
    torch.testing.assert_close(found.guided, x.grad, rtol=1e-4, atol=1e-8)
    assert torch.equal(found.guided_grad_cam, found.grad_cam[:, None] * found.guided)
    assert not pictures.requires_grad


def test_a_network_that_looks_at_a_corner_is_warm_there():
    # fc reads one channel, which passes the brightness of the middle of 3x3 pixels: the bright corner.
    network: Any = create_model("plain8_cifar", num_classes=2).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            nn.init.constant_(module.weight[0, 0, 1, 1], 1.0)
    nn.init.zeros_(network.fc.weight)
    nn.init.constant_(network.fc.weight[1, 0], 1.0)
    pictures = torch.zeros(1, 3, 32, 32)
    pictures[:, :, :8, 24:] = 1  # two by two cells of stride 4 at the top right
    found = explain_answers(network, pictures, torch.tensor([1]), "res4")
    corner = torch.zeros(32, 32, dtype=torch.bool)
    # Cells lie at pixels 0, 4, …: those at 0 and 4, 24 and 28 are warm, and nothing from the next cells on.
    corner[:8, 21:] = True
    warmest = found.grad_cam.max().item()
    assert found.grad_cam[0, 0, -1].item() == pytest.approx(warmest, rel=1e-5) and warmest > 0
    assert (found.grad_cam[0][~corner] == 0).all()
    assert (found.guided_grad_cam[0, :, ~corner] == 0).all()


def test_heat_lies_where_cells_look():
    heat = torch.tensor([[[0.0, 8.0], [4.0, 0.0]]])
    # Cells are at pixels 0 and 2; the last column lies beside the last cell.
    found = spread_heat(heat, (3, 4), 2, 0.0)
    assert found.tolist() == [[[0, 4, 8, 8], [2, 3, 4, 4], [4, 2, 0, 0]]]
    # With pooling two by two they are at 0.5 and 2.5.
    assert spread_heat(heat, (1, 4), 2, 0.5).tolist() == [[[0, 2, 6, 8]]]
    assert spread_heat(torch.ones(1, 1, 1), (2, 2), 32, 0.0).tolist() == [[[1, 1], [1, 1]]]


def test_of_several_maps_each_has_its_own_heat():
    a, b = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]]), torch.tensor([[[[-1.0]], [[4.0]]]])

    def score(first, second):  # 2 · a[0] summed − a[1] summed, and of the other map the second channel
        one = 2 * first[:, 0].sum((1, 2)) - first[:, 1].sum((1, 2)) + second[:, 1].sum((1, 2))
        return torch.stack([0 * one, one], dim=1)

    # Means of the gradients are 2 and −1 on the first map, 0 and 1 on the second.
    of_a, of_b = explain_maps(score, [a, b], 1)
    assert of_a.tolist() == [[0.0, 4.0]] and of_b.tolist() == [[4.0]]
    (alone,) = explain_maps(lambda first: score(first, b), [a], 1)
    assert alone.tolist() == of_a.tolist()


def test_without_captum_the_command_that_installs_it_is_named(monkeypatch, pictures):
    imported = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name.startswith("captum"):
            raise ModuleNotFoundError("No module named 'captum'", name="captum")
        return imported(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r'captum.*pip install -e "\.\[explain\]"'):
        explain_answers(create_model("resnet8_cifar").eval(), pictures, torch.tensor([0, 0]), "res4")
