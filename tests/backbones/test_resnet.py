"""Our ImageNet networks against torchvision's and timm's on the same weights."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from backbones import create_model
from backbones.resnet import ResNet

DEPTHS = [18, 34, 50, 101, 152]


def randomise_norms(network: nn.Module) -> None:
    """Random affine parts and statistics: with the initial ones a mistake in their use would go unseen."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


def relative_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize("depth", DEPTHS)
def test_logits_equal_torchvision_and_timm(depth):
    torch.manual_seed(depth)
    ours = create_model(f"resnet{depth}")
    randomise_norms(ours)
    images = torch.randn(2, 3, 64, 64)
    others = [getattr(torchvision.models, f"resnet{depth}")(), timm.create_model(f"resnet{depth}")]
    for theirs in others:
        theirs.load_state_dict(ours.state_dict())
    for training in (False, True):
        # Training changes the statistics, so eval comes first, and train starts from equal ones.
        with torch.no_grad():
            logits = ours.train(training)(images)
            for theirs in others:
                assert relative_difference(logits, theirs.train(training)(images)) < 1e-5
    for theirs in others:  # the statistics that training moved
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [18, 50])
def test_gradients_equal_torchvision(depth):
    torch.manual_seed(0)
    ours = create_model(f"resnet{depth}")
    randomise_norms(ours)
    theirs = getattr(torchvision.models, f"resnet{depth}")()
    theirs.load_state_dict(ours.state_dict())
    images, labels = torch.randn(4, 3, 64, 64), torch.arange(4)
    for network in (ours, theirs):
        nn.functional.cross_entropy(network(images), labels).backward()
    theirs_by_name = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert relative_difference(parameter.grad, theirs_by_name[name].grad) < 1e-3, name


def test_same_seed_gives_torchvisions_initial_weights():
    torch.manual_seed(3)
    ours = create_model("resnet50").state_dict()
    torch.manual_seed(3)
    theirs = torchvision.models.resnet50().state_dict()
    assert list(ours) != [] and all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.parametrize("depth", DEPTHS)
def test_names_and_their_order_are_torchvisions(depth):
    with torch.device("meta"):
        ours, theirs = ResNet(depth), getattr(torchvision.models, f"resnet{depth}")()
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_stride_on_1x1_equals_torchvision_with_its_strides_moved():
    torch.manual_seed(0)
    ours = create_model("resnet50", stride_on="1x1").eval()
    theirs = torchvision.models.resnet50().eval()
    theirs.load_state_dict(ours.state_dict())
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert relative_difference(ours(images), theirs(images)) < 1e-5


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
    assert relative_difference(result, expected) < 1e-5
