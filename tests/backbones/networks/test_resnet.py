import pytest
import torch
import torchvision

from backbones import create_model
from backbones.networks.resnet import ResNet


def test_same_seed_gives_torchvisions_initial_weights():
    torch.manual_seed(3)
    ours = create_model("resnet50").state_dict()
    torch.manual_seed(3)
    theirs = torchvision.models.resnet50().state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_names_and_their_order_are_torchvisions(depth):
    with torch.device("meta"):
        ours, theirs = ResNet(depth, num_classes=1000), getattr(torchvision.models, f"resnet{depth}")()
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_option_c_adds_13_projections_to_resnet34():
    # He et al. 2015, §4.1: "leaves 13 more projection shortcuts": 16 blocks, 3 of which B projects.
    def projections(option):
        names = create_model("resnet34", shortcut=option).state_dict()
        return sum(name.endswith("downsample.0.weight") for name in names)

    assert (projections("A"), projections("B"), projections("C")) == (0, 3, 16)


@pytest.mark.parametrize("size", [1, 31, 33])
def test_any_size_goes_through_in_eval(size):
    with torch.no_grad():
        assert create_model("resnet18", num_classes=3).eval()(torch.randn(1, 3, size, size)).shape == (1, 3)


def test_empty_batch_in_eval():
    with torch.no_grad():
        assert create_model("plain18", num_classes=3).eval()(torch.randn(0, 3, 32, 32)).shape == (0, 3)


def test_channels_last_stays_so_and_gives_the_same():
    torch.manual_seed(0)
    network = create_model("resnet50", shortcut="A").eval()
    images = torch.randn(2, 3, 64, 64)
    formats = []
    network.layer4.register_forward_hook(
        lambda module, inputs, output: formats.append(output.is_contiguous(memory_format=torch.channels_last))
    )
    with torch.no_grad():
        expected = network(images)
        network.to(memory_format=torch.channels_last)
        result = network(images.to(memory_format=torch.channels_last))
    assert formats[1]
    assert (result - expected).abs().max() < 1e-5 * expected.abs().max()
