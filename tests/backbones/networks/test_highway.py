"""Highway networks: the gate by hand, and what the published networks are made of."""

import pytest
import torch
from torch import nn

from backbones import OptionError, create_backbone, create_model
from backbones.features import FeatureNetwork
from backbones.networks.highway import HighwayLayer


def test_layer_by_hand():
    # One channel, one pixel: H = relu(2x + 1), T = σ(ln 3) = 3/4. x = 2: 5 · 3/4 + 2 · 1/4 = 4.25;
    # x = -2: relu(-3) · 3/4 - 2 · 1/4 = -0.5.
    layer = HighwayLayer(1)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    layer.conv.weight.data[0, 0, 1, 1] = 2.0
    layer.conv.bias.data.fill_(1.0)
    layer.gate.bias.data.fill_(torch.tensor(3.0).log().item())
    for x, expected in ((2.0, 4.25), (-2.0, -0.5)):
        assert layer(torch.full((1, 1, 1, 1), x)).item() == pytest.approx(expected)


def test_a_shut_gate_passes_the_input_and_an_open_one_the_convolution():
    layer, x = HighwayLayer(4), torch.randn(2, 4, 5, 5)
    nn.init.zeros_(layer.gate.weight)
    for bias, expected in ((-50.0, x), (50.0, layer.conv(x).relu())):
        nn.init.constant_(layer.gate.bias, bias)
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("depth", "highways"), [(19, 14), (32, 27)])
def test_layers_and_their_start(depth, highways):
    network = create_model(f"highway{depth}_cifar")
    layers = [module for module in network.modules() if isinstance(module, HighwayLayer)]
    rest = [m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == highways
    assert len(rest) - highways == depth  # a gate is no layer of its own
    for layer in layers:
        assert (layer.gate.bias == -2).all() and not layer.conv.bias.any()
    # He initialisation: sqrt(2 / (9 * channels)) of the last stage.
    channels = layers[-1].conv.in_channels
    assert layers[-1].conv.weight.std().item() == pytest.approx((2 / (9 * channels)) ** 0.5, rel=0.03)


@pytest.mark.parametrize("size", [(32, 32), (33, 19)])
def test_features_lead_to_the_logits(size):
    network = create_model("highway19_cifar", num_classes=7).eval()
    images = torch.randn(2, 3, *size)
    stages = ["stem", "res2", "res3", "res4"]
    with torch.no_grad():
        features = FeatureNetwork(network, stages)(images)
        assert torch.equal(network.fc(features["res4"].mean((2, 3))), network(images))
    for name in stages:
        spec = network.feature_specs[name]
        assert features[name].shape[1:] == (spec.channels, *(-(-pixels // spec.stride) for pixels in size))


def test_every_parameter_learns_and_frozen_ones_do_not():
    network = create_model("highway32_cifar")
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())
    trunk = create_backbone("highway19_cifar", frozen_stages=2)
    fixed = {name.split(".")[0] for name, p in trunk.named_parameters() if not p.requires_grad}
    assert fixed == {"conv1", "layer1"}


def test_dropout_in_training_alone():
    network, images = create_model("highway19_cifar"), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(network(images), network(images))
        network.eval()
        assert torch.equal(network(images), network(images))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("highway20_cifar", {}, "unknown model 'highway20_cifar'; did you mean 'highway"),
        ("highway19_cifar", {"shortcut": "A"}, "highway19_cifar has no residual shortcuts; leave out"),
        ("highway19_cifar", {"norm": "sync"}, "highway19_cifar has no batch normalisation"),
        ("highway19_cifar", {"dilation": ("res3",)}, "has no stages that can be dilated"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(OptionError, match=message):
        create_model(name, **options)
