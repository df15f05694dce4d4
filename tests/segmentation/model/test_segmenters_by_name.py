"""Networks for semantic segmentation by name: options, weights, freezing, and what is refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

import segmentation
from backbones import OptionError, WeightsError, WeightsHeader, create_model, save_weights
from backbones.norm import FrozenBatchNorm2d
from segmentation.model.fcn import VggSkipHead
from segmentation.model.segmenter_weights import segmenter_header
from segmentation.model.segmenters_by_name import load_network


def backbone_file(folder: Path, name: str, *, norm_eps: float = 1e-5) -> tuple[Path, nn.Module]:
    network = create_model(name, num_classes=4)
    header = WeightsHeader(name, network.options, network.input_spec, norm_eps=norm_eps)
    save_weights(folder / "backbone.safetensors", network.state_dict(), header)
    return folder / "backbone.safetensors", network


def test_list_of_models():
    assert segmentation.list_models("*_vgg16") == [
        f"{kind}_vgg16"
        for kind in ("fcn", "fcn32s", "fcn16s", "fcn8s", "deeplabv3", "deeplabv3plus", "pspnet")
    ]
    assert segmentation.list_models("*cifar") == []
    # Seven kinds on two plain, five residual and four of their successors, six pre-activation, two VGG.
    assert len(segmentation.list_models()) == 7 * 19


@pytest.mark.parametrize(
    "name", ["fcn_plain18", "deeplabv3_preact_resnet18", "pspnet_resnet34", "deeplabv3plus_resnext50_32x4d"]
)
def test_networks_learn_to_their_first_layer(name: str):
    network = segmentation.create_model(name, num_classes=3, aux=True)
    logits = network(torch.randn(2, 3, 33, 40))
    sum(scores.square().mean() for scores in logits.values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.name == name and network.num_classes == 3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fcn_resnet20_cifar", {"output_stride": 4}),
        ("deeplabv3_vgg16", {"output_stride": 16}),
        ("deeplabv3plus_timm/convnext_atto", {"output_stride": 32}),
        ("fcn_timm/vit_tiny_patch16_224", {"output_stride": 16}),
        ("fcn16s_timm/resnet18", {}),
    ],
)
def test_backbones_that_cannot_be_dilated(name: str, options: dict):
    network = segmentation.create_model(name, num_classes=3, **options).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 64, 96))["out"].shape == (1, 3, 64, 96)


def test_fcn8s_of_the_paper_with_weights_of_vgg(tmp_path: Path):
    file, classifier = backbone_file(tmp_path, "vgg16")
    network = segmentation.create_model(
        "fcn8s_vgg16", num_classes=3, aux=True, backbone_weights=file, frozen_stages=2
    ).eval()
    assert isinstance(network.classifier, VggSkipHead)
    fc6 = classifier.classifier[0].weight.view(4096, 512, 7, 7)
    assert torch.equal(network.classifier.fc6.weight, fc6)
    frozen = {name for name, parameter in network.backbone.named_parameters() if not parameter.requires_grad}
    assert frozen == {f"features.{i}.{kind}" for i in (0, 2, 5, 7) for kind in ("weight", "bias")}
    with torch.no_grad():
        logits = network(torch.randn(1, 3, 45, 70))
    assert logits["out"].shape == logits["aux"].shape == (1, 3, 45, 70)


def test_weights_of_a_backbone_and_its_epsilon(tmp_path: Path):
    file, classifier = backbone_file(tmp_path, "resnet18", norm_eps=1e-3)
    network = segmentation.create_model("deeplabv3_resnet18", aux=True, backbone_weights=file)
    assert torch.equal(network.backbone.conv1.weight, classifier.conv1.weight)
    assert {module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}
    assert segmenter_header(network).norm_eps == 1e-3


@pytest.mark.parametrize(
    ("norm", "of_backbone", "of_heads"),
    [
        ("batch", nn.BatchNorm2d, nn.BatchNorm2d),
        ("frozen", FrozenBatchNorm2d, nn.BatchNorm2d),
        ("sync", nn.SyncBatchNorm, nn.SyncBatchNorm),
    ],
)
def test_norm(norm, of_backbone, of_heads):
    network = segmentation.create_model("fcn_resnet18", aux=True, norm=norm)
    assert type(network.backbone.bn1) is of_backbone
    assert type(network.classifier[1]) is type(network.aux_classifier[1]) is of_heads


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fcn_resnet50", {"aux": True, "stride_on": "1x1", "shortcut": "C", "output_stride": 16}),
        ("fcn16s_plain18", {}),
        ("deeplabv3plus_timm/convnext_atto", {"output_stride": 32}),
    ],
)
def test_a_file_alone_builds_its_network(tmp_path: Path, name: str, options: dict):
    network = segmentation.create_model(name, num_classes=3, norm="frozen", **options).eval()
    classes = ["ground", "cat", "dog"]
    save_weights(tmp_path / "a.safetensors", network.state_dict(), segmenter_header(network, classes=classes))
    again, header = load_network(tmp_path / "a.safetensors")
    assert (again.name, again.options, header.classes) == (name, network.options, classes)
    images = torch.randn(1, 3, 64, 70)
    with torch.no_grad():
        logits, expected = again(images), network(images)
    assert list(logits) == list(expected)
    assert all(torch.equal(logits[head], expected[head]) for head in expected)


def test_a_file_is_read_for_another_output_stride(tmp_path: Path):
    network = segmentation.create_model("deeplabv3_resnet18", num_classes=3, output_stride=16)
    save_weights(tmp_path / "a.safetensors", network.state_dict(), segmenter_header(network))
    again, _ = load_network(tmp_path / "a.safetensors", output_stride=8)
    assert again.backbone.feature_specs["res5"].stride == again.options["output_stride"] == 8
    assert [branch[0].dilation[0] for branch in again.classifier[0].convs[1:4]] == [12, 24, 36]


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    file, _ = backbone_file(tmp_path, "resnet18")
    with pytest.raises(
        WeightsError, match="semantic segmentation, such as fcn_resnet50, found that of a resn"
    ):
        load_network(file)
    with pytest.raises(OptionError, match="brings the backbone's weights; leave out backbone_weights"):
        segmentation.create_model("fcn_resnet18", weights=file, backbone_weights=file)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fnc_resnet50", {}, "^unknown model 'fnc_resnet50'; did you mean 'fcn_resnet50'"),
        ("fcn_resnet-50", {}, "did you mean 'fcn_resnet50'"),
        ("deeplabv3+_resnet50", {}, "did you mean 'deeplabv3_resnet50'"),
        ("fcn", {}, "^unknown model 'fcn'; "),
        ("fcn_timm/convnext_atoo", {}, "network of timm 'convnext_atoo'; did you mean 'convnext_atto"),
        ("fcn_resnet18", {"output_strides": 8}, "option 'output_strides'; did you mean 'output_stride'"),
        ("fcn_resnet18", {"dilation": ("res5",)}, "^dilation follows from output_stride"),
        ("fcn_resnet18", {"num_classes": 0}, "^num_classes must be at least 1, got 0$"),
        ("fcn_resnet18", {"num_classes": 2.0}, "^num_classes must be at least 1, got 2.0$"),
        ("fcn_resnet18", {"aux": 1}, "^aux must be true or false, got 1$"),
        ("fcn_resnet18", {"norm": "forzen"}, "did you mean 'frozen'"),
        ("fcn_resnet18", {"stride_on": "1x1"}, "resnet18 has no bottlenecks"),
        ("fcn_resnet18", {"frozen_stages": 7}, "frozen_stages must be 0 … 5"),
        ("fcn_timm/vit_tiny_patch16_224", {"output_stride": 16, "aux": True}, "one map, .* leave out aux$"),
    ],
)  # fmt: skip
def test_what_is_refused(name: str, options: dict, message: str):
    with pytest.raises(OptionError, match=message):
        segmentation.create_model(name, **options)
