import pytest
import torch
from torch import nn

from backbones import OptionError, create_model
from backbones.networks.blocks import ZeroPadShortcut


@pytest.mark.parametrize("depth", [8, 20, 56, 110])
def test_depth_counts_the_layers_with_weights(depth):
    # 6n convolutions in the stages, one before them, one classifier.
    for kind in ("plain", "resnet"):
        network = create_model(f"{kind}{depth}_cifar")
        assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in network.modules()) == depth


def test_1202_layers_build_and_run():
    # Silent residuals (others would let the sum double in each of the 600 blocks) leave the shortcuts: every
    # fourth pixel of the stem, its 16 channels followed by 48 zeros.
    network = create_model("resnet1202_cifar", zero_init_residual=True).eval()
    images = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        stem = network.bn1(network.conv1(images)).relu()
        pooled = torch.cat([stem[:, :, ::4, ::4].mean((2, 3)), torch.zeros(1, 48)], dim=1)
        torch.testing.assert_close(network(images), network.fc(pooled))


def test_shapes_through_the_stages():
    network = create_model("resnet20_cifar")
    x = network.relu(network.bn1(network.conv1(torch.randn(2, 3, 32, 32))))
    shapes = [tuple((x := stage(x)).shape[1:]) for stage in (network.layer1, network.layer2, network.layer3)]
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_default_shortcut_is_option_a_without_parameters():
    residual, plain = create_model("resnet20_cifar"), create_model("plain20_cifar")
    assert list(residual.state_dict()) == list(plain.state_dict())
    assert sum(isinstance(m, ZeroPadShortcut) for m in residual.modules()) == 2


def test_plain_is_residual_without_its_shortcuts():
    torch.manual_seed(0)
    residual, plain = create_model("resnet20_cifar").eval(), create_model("plain20_cifar").eval()
    plain.load_state_dict(residual.state_dict())
    for module in residual.modules():
        if hasattr(module, "downsample"):
            module.downsample = Nothing()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(plain(images), residual(images))


class Nothing(nn.Module):
    def forward(self, x):
        return torch.zeros(())


@pytest.mark.parametrize("depth", [0, 2, 7, 18, 21, 1200])
@pytest.mark.parametrize("kind", ["plain", "resnet"])
def test_depth_not_6n_plus_2_is_refused(kind, depth):
    with pytest.raises(OptionError, match=rf"depth must be 6n\+2 \(20, 32, 44, …\), got {depth}$"):
        create_model(f"{kind}{depth}_cifar")


def test_every_parameter_gets_a_gradient():
    for name in ("resnet20_cifar", "plain20_cifar"):
        network = create_model(name)
        network(torch.randn(4, 3, 32, 32)).square().sum().backward()
        assert all(parameter.grad.any() for parameter in network.parameters())
