"""Networks and their features obey Python's attribute protocol and torch's three ways of tracing."""

import inspect

import pytest
import torch
from torch import Tensor, nn

from backbones import OptionError, create_backbone, create_model, create_trunk_and_head
from backbones.pyramid import Pyramid

NAMES = ["resnet50", "resnet20_cifar", "preact_resnet29_cifar", "plain20_cifar", "highway19_cifar"]


def traced(way: str, network: nn.Module, images: Tensor) -> nn.Module:
    if way == "jit":
        return torch.jit.trace(network, images, strict=False)  # dictionaries are refused otherwise
    if way == "fx":
        return torch.fx.symbolic_trace(network)
    return torch.export.export(network, (images,)).module()


@pytest.mark.parametrize("way", ["jit", "fx", "export"])
@pytest.mark.parametrize(
    ("name", "norm"), [("resnet20_cifar", "batch"), *((name, "frozen") for name in NAMES)]
)
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_features_are_traced_and_equal(name: str, norm: str, way: str):
    levels = ("res2", "res3", "res4")
    network = create_backbone(name, out_features=levels, norm=norm).eval()
    found = traced(way, network, torch.randn(2, 3, 32, 32))
    images = torch.randn(2, 3, 32, 32)  # others than were traced
    with torch.no_grad():
        expected, features = network(images), found(images)
    assert tuple(features) == levels
    assert all(torch.equal(features[level], expected[level]) for level in levels)


def test_frozen_normalisation_is_trained_to_rounding_alike_when_traced():
    network = create_backbone("resnet20_cifar", norm="frozen")
    images = torch.randn(2, 3, 16, 16)
    gradients = []
    for module in (network, torch.fx.symbolic_trace(network)):
        network.zero_grad()
        module(images)["res4"].sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_features_of_different_widths_have_no_out_channels():
    network = create_backbone("resnet18", out_features=("res3", "res4"))
    assert not hasattr(network, "out_channels") and getattr(network, "out_channels", None) is None
    for error in (AttributeError, OptionError):
        with pytest.raises(error, match=r"^res3, res4 differ in channels \(\[128, 256\]\); ask for one"):
            _ = network.out_channels
    with pytest.raises(AttributeError, match="'FeatureNetwork' object has no attribute 'out_chanels'"):
        _ = network.out_chanels
    assert create_backbone("resnet18").out_channels == 256
    assert create_backbone("resnet18", out_features=("stem", "res2")).out_channels == 64


@pytest.mark.parametrize("name", [*NAMES, "vgg16"])
def test_every_attribute_can_be_looked_at(name: str):
    with torch.device("meta"):
        whole, (trunk, head) = create_model(name), create_trunk_and_head(name)
        features = create_backbone(name, out_features=list(whole.feature_specs))
        pyramid = Pyramid(features)
    for network in (whole, features, pyramid, trunk, head):
        for module in network.modules():
            assert dict(inspect.getmembers(module))["training"] is True
