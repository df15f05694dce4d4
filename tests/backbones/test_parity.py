"""Our ImageNet networks against torchvision's and timm's on the same weights."""

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from backbones import create_backbone, create_model

DEPTHS = [18, 34, 50, 101, 152]


def randomise_norms(network: nn.Module) -> None:
    """Random affine parts and statistics: with the initial ones a mistake in their use would go unseen."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)


def build_equal(build: Callable[[], nn.Module], ours: nn.Module) -> nn.Module:
    """Another's network with copies of our tensors, without its own initialisation, which takes seconds."""
    with torch.device("meta"):
        theirs = build()
    state = {name: value.clone() for name, value in ours.state_dict().items()}
    theirs.load_state_dict(state, strict=True, assign=True)
    return theirs


def torchvisions(depth: int) -> nn.Module:
    return getattr(torchvision.models, f"resnet{depth}")()


def timms(depth: int) -> nn.Module:
    return timm.create_model(f"resnet{depth}", pretrained=False)


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize("depth", DEPTHS)
def test_logits_equal_torchvision_and_timm(depth):
    torch.manual_seed(depth)
    ours = create_model(f"resnet{depth}")
    randomise_norms(ours)
    others = [build_equal(lambda build=build: build(depth), ours) for build in (torchvisions, timms)]
    pictures = [torch.randn(2, 3, 64, 64), torch.randn(1, 3, 75, 91)]
    # Training moves the statistics, so eval comes first, and train starts from equal ones.
    for training in (False, True):
        for images in pictures:
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
    theirs = build_equal(lambda: torchvisions(depth), ours)
    images, labels = torch.randn(4, 3, 64, 64), torch.arange(4)
    for network in (ours, theirs):
        nn.functional.cross_entropy(network(images), labels).backward()
    theirs_by_name = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert relative_difference(parameter.grad, theirs_by_name[name].grad) < 1e-3, name


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_features_equal_timms(norm, tmp_path):
    torch.manual_seed(0)
    network = create_model("resnet50")
    randomise_norms(network)
    theirs = build_equal(lambda: timm.create_model("resnet50", features_only=True), headless(network)).eval()
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    ours = create_backbone(
        "resnet50",
        out_features=("stem", "res2", "res3", "res4", "res5"),
        norm=norm,
        weights=tmp_path / "resnet50.pth",
    ).eval()
    images = torch.randn(1, 3, 75, 91)
    with torch.no_grad():
        for feature, expected in zip(ours(images).values(), theirs(images), strict=True):
            assert feature.shape == expected.shape
            assert relative_difference(feature, expected) < 1e-5


def headless(network: nn.Module) -> nn.Module:
    del network.fc
    return network


def test_stride_on_1x1_equals_torchvision_with_its_strides_moved():
    torch.manual_seed(0)
    ours = create_model("resnet50", stride_on="1x1").eval()
    randomise_norms(ours)
    theirs = build_equal(torchvision.models.resnet50, ours).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert relative_difference(ours(images), theirs(images)) > 1e-3  # no shape tells the two apart
        for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        assert relative_difference(ours(images), theirs(images)) < 1e-5
