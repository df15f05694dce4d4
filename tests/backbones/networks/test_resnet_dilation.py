"""Dilation in place of stride: torchvision's and timm's networks, and what "à trous" promises."""

import itertools

import pytest
import timm
import torch
import torchvision

from backbones import (
    FeatureSpec,
    OptionError,
    WeightsHeader,
    create_backbone,
    create_model,
    create_trunk_and_head,
    save_weights,
)
from backbones.features import FeatureNetwork
from backbones.networks.blocks import StageStride, stage_strides

STAGES = ["res2", "res3", "res4", "res5"]


def test_strides_by_hand():
    assert stage_strides(()) == {
        "res2": StageStride(1, (1, 1), 4),
        "res3": StageStride(2, (1, 1), 8),
        "res4": StageStride(2, (1, 1), 16),
        "res5": StageStride(2, (1, 1), 32),
    }
    # res4 gives up its stride: what follows it is dilated by 2. res5 strides, on pixels twice as dense.
    assert stage_strides(["res4"])["res4"] == StageStride(1, (1, 2), 8)
    assert stage_strides(["res4"])["res5"] == StageStride(2, (2, 2), 16)
    assert stage_strides(["res5", "res4"])["res5"] == StageStride(1, (2, 4), 8)


@pytest.mark.parametrize("replaced", list(itertools.product([False, True], repeat=3))[1:])
def test_equals_torchvisions(replaced, build_equal, randomise_norms, relative_difference):
    torch.manual_seed(0)
    dilation = [stage for stage, replace in zip(STAGES[1:], replaced, strict=True) if replace]
    ours = create_model("resnet50", dilation=dilation).eval()
    randomise_norms(ours)
    options = {"replace_stride_with_dilation": list(replaced)}
    theirs = build_equal(lambda: torchvision.models.resnet50(**options), ours).eval()
    for size in ((64, 75), (33, 96)):
        images = torch.randn(1, 3, *size)
        with torch.no_grad():
            assert relative_difference(ours(images), theirs(images)) < 1e-5


@pytest.mark.parametrize(("output_stride", "dilation"), [(16, ("res5",)), (8, ("res4", "res5"))])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_equals_timms(name, output_stride, dilation, build_equal, randomise_norms, relative_difference):
    torch.manual_seed(0)
    ours = create_model(name, dilation=dilation).eval()
    randomise_norms(ours)
    theirs = build_equal(lambda: timm.create_model(name, output_stride=output_stride), ours).eval()
    images = torch.randn(1, 3, 64, 75)
    with torch.no_grad():
        assert relative_difference(ours(images), theirs(images)) < 1e-5


@pytest.mark.parametrize("dilation", [("res5",), ("res4", "res5"), ("res3", "res5"), ("res4",)])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain18", {}),
        ("resnet18", {"shortcut": "A"}),
        ("resnet50", {}),
        ("resnet50", {"stride_on": "1x1"}),
        ("preact_resnet18", {}),
        ("preact_resnet50", {}),
        ("preact_resnet50", {"stride_on": "1x1"}),
    ],
)
def test_every_second_pixel_is_the_strided_networks(
    name, options, dilation, randomise_norms, relative_difference
):
    torch.manual_seed(0)
    strided, dilated = create_model(name, **options), create_model(name, dilation=dilation, **options)
    randomise_norms(strided)
    dilated.load_state_dict(strided.state_dict())
    before, after = (FeatureNetwork(network.eval(), STAGES) for network in (strided, dilated))
    images = torch.randn(1, 3, 64, 75)
    with torch.no_grad():
        expected, found = before(images), after(images)
    for stage in STAGES:
        spec = after.feature_specs[stage]
        step = before.feature_specs[stage].stride // spec.stride
        assert found[stage].shape[1:] == (spec.channels, -(-64 // spec.stride), -(-75 // spec.stride))
        assert relative_difference(found[stage][:, :, ::step, ::step], expected[stage]) < 1e-5
    assert after.feature_specs["res5"].stride < 32


def test_dc5_and_its_head():
    assert create_backbone("resnet18", out_features=("res5",), dilation=("res5",)).feature_specs == {
        "res5": FeatureSpec(512, 16)
    }
    trunk, head = create_trunk_and_head("resnet18", dilation=("res5",))
    assert trunk.feature_specs == {"res4": FeatureSpec(256, 16)}
    assert head.feature_specs == {"res5": FeatureSpec(512, 1)}
    assert head(torch.randn(2, 256, 7, 7)).shape == (2, 512, 7, 7)


def test_the_strided_networks_weights_load_and_the_option_is_said_only_where_given(tmp_path):
    path = tmp_path / "r18.safetensors"
    strided = create_model("resnet18", num_classes=3)
    save_weights(path, strided.state_dict(), WeightsHeader("resnet18", strided.options, strided.input_spec))
    dilated = create_model("resnet18", num_classes=3, weights=path, dilation=("res5",))
    assert all(torch.equal(value, strided.state_dict()[key]) for key, value in dilated.state_dict().items())
    assert "dilation" not in strided.options and dilated.options["dilation"] == ["res5"]
    assert create_model("resnet18", dilation=[]).options == create_model("resnet18").options


@pytest.mark.parametrize(
    ("name", "dilation", "message"),
    [
        ("resnet18", "res5", "^dilation must be a list of stages, such as .*, got 'res5'$"),
        ("resnet18", 5, "^dilation must be a list of stages, such as .*, got 5$"),
        ("resnet18", ("res2",), "^unknown stage to dilate 'res2'; did you mean 'res"),
        ("preact_resnet18", ("layer4",), "unknown stage to dilate 'layer4'; choose from res3, res4, res5"),
        ("resnet20_cifar", ("res4",), "resnet20_cifar has no stages that can be dilated; leave out dilation"),
        ("preact_resnet20_cifar", ("res4",), "preact_resnet20_cifar has no stages that can be dilated"),
    ],
)
def test_impossible_dilation(name, dilation, message):
    with pytest.raises(OptionError, match=message):
        create_model(name, dilation=dilation)
