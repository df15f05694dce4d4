"""Our ImageNet networks against torchvision's and timm's on the same weights."""

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from backbones import create_backbone, create_model
from backbones.features import FeatureNetwork
from backbones.networks.resnet import VARIANTS

STAGES = ["stem", "res2", "res3", "res4", "res5"]
# Sizes of pictures, 32 to 513 pixels, odd and even; the deeper the network the fewer.
SIZES = {
    "resnet18": [(32, 33), (513, 200)],
    "resnet34": [(64, 65), (224, 97)],
    "resnet50": [(75, 91), (128, 320)],
    "resnet101": [(75, 32)],
    "resnet152": [(64, 47)],
    "resnext50_32x4d": [(75, 64)],  # of those with 101 layers test_complexity.py pins the numbers
    "wide_resnet50_2": [(64, 75)],
}


def torchvisions(name: str) -> nn.Module:
    return getattr(torchvision.models, name)()


def timms(name: str) -> nn.Module:
    return timm.create_model(name, pretrained=False)


def run_with_features(network: nn.Module, children: list[str], images: Tensor) -> list[Tensor]:
    """What the named children give, and the logits."""
    found: list[Tensor] = []
    handles = [
        getattr(network, child).register_forward_hook(lambda module, inputs, output: found.append(output))
        for child in children
    ]
    logits = network(images)
    for handle in handles:
        handle.remove()
    return [*found, logits]


@pytest.mark.parametrize("name", SIZES)
def test_features_and_logits_equal_torchvision_and_timm(
    name: str,
    build_equal: Callable[..., nn.Module],
    randomise_norms: Callable[[nn.Module], None],
    relative_difference: Callable[[Tensor, Tensor], float],
):
    torch.manual_seed(0)
    ours = create_model(name).eval()
    randomise_norms(ours)
    features = FeatureNetwork(ours, STAGES)
    others = [(torchvisions, "relu")] if name in VARIANTS else [(torchvisions, "relu"), (timms, "act1")]
    for build, stem in others:
        theirs = build_equal(lambda build=build: build(name), ours).eval()
        children = [stem, "layer1", "layer2", "layer3", "layer4"]
        for size in SIZES[name]:
            images = torch.randn(1, 3, *size)
            with torch.no_grad():
                expected = run_with_features(theirs, children, images)
                found = [*features(images).values(), ours(images)]
            for mine, wanted in zip(found, expected, strict=True):
                assert relative_difference(mine, wanted) < 1e-5


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_training_mode_equals_torchvision_and_timm(
    name: str,
    build_equal: Callable[..., nn.Module],
    randomise_norms: Callable[[nn.Module], None],
    relative_difference: Callable[[Tensor, Tensor], float],
):
    torch.manual_seed(0)
    ours = create_model(name).train()
    randomise_norms(ours)
    others = [build_equal(lambda build=build: build(name), ours).train() for build in (torchvisions, timms)]
    images = torch.randn(2, 3, 64, 75)
    with torch.no_grad():
        logits = ours(images)
        for theirs in others:
            assert relative_difference(logits, theirs(images)) < 1e-5
    for theirs in others:  # the statistics that training moved
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_gradients_equal_torchvision(
    name: str,
    build_equal: Callable[..., nn.Module],
    randomise_norms: Callable[[nn.Module], None],
    relative_difference: Callable[[Tensor, Tensor], float],
):
    torch.manual_seed(0)
    ours = create_model(name)
    randomise_norms(ours)
    theirs = build_equal(lambda: torchvisions(name), ours)
    images, labels = torch.randn(4, 3, 64, 64), torch.arange(4)
    for network in (ours, theirs):
        nn.functional.cross_entropy(network(images), labels).backward()
    theirs_by_name = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        assert relative_difference(parameter.grad, theirs_by_name[key].grad) < 1e-3, key


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_features_from_a_file_equal_timms(norm, tmp_path, build_equal, randomise_norms, relative_difference):
    torch.manual_seed(0)
    network = create_model("resnet50")
    randomise_norms(network)
    torch.save(network.state_dict(), tmp_path / "resnet50.pth")
    del network.fc
    theirs = build_equal(lambda: timm.create_model("resnet50", features_only=True), network).eval()
    ours = create_backbone(
        "resnet50", out_features=STAGES, norm=norm, weights=tmp_path / "resnet50.pth"
    ).eval()
    images = torch.randn(1, 3, 75, 91)
    with torch.no_grad():
        for feature, expected in zip(ours(images).values(), theirs(images), strict=True):
            assert relative_difference(feature, expected) < 1e-5


def test_stride_on_1x1_equals_torchvision_with_its_strides_moved(
    build_equal, randomise_norms, relative_difference
):
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
