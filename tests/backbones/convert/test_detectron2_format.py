"""detectron2's networks and detectors, and the older weights of Caffe2."""

import re

import pytest
import torch
from torch import Tensor

from backbones import (
    IMAGENET_INPUT,
    WeightsHeader,
    create_backbone,
    create_model,
    load_into,
)
from backbones.convert import FORMATS, convert
from backbones.convert import detectron2_format as detectron2
from backbones.convert.caffemodel import Layer
from backbones.convert.foreign_weights import MSRA_INPUT
from backbones.convert.formats import write_pickled_arrays


def caffe2_names(layers: list[Layer]) -> dict[str, Tensor]:
    """MSRA's model as the Caffe2 project keeps it: normalisation folded into scale and shift."""
    tensors = {}
    for layer in layers:
        kind = re.match(r"conv1|res|bn|scale|fc", layer.name)[0]
        name = layer.name if kind in ("conv1", "fc") else layer.name.removeprefix(kind)
        found = re.fullmatch(r"(\d)([a-z])_branch(\w+)", name)
        if found:
            name = f"res{found[1]}_{ord(found[2]) - ord('a')}_branch{found[3]}"
        if kind == "scale":
            norm = "res_conv1" if layer.name == "scale_conv1" else name
            tensors[f"{norm}_bn_s"], tensors[f"{norm}_bn_b"] = layer.blobs
        elif kind != "bn":
            tensors[f"{name}_w"] = layer.blobs[0]
    tensors["fc1000_b"] = torch.randn(1000)
    return tensors


def test_folded_normalisation_of_msra(random_release):
    tensors = caffe2_names(random_release(50)) | {"conv1_b": torch.full((64,), 0.25)}
    contents = detectron2.to_ours(tensors)
    assert not contents.unused and contents.folded == {"conv1_b"}
    assert contents.input_spec == MSRA_INPUT and contents.stride_on == "1x1"
    network = create_model("resnet50", stride_on="1x1").eval()
    expected = {name for name in network.state_dict() if "num_batches" not in name}
    assert contents.state.keys() == expected
    assert torch.equal(contents.state["layer2.0.downsample.0.weight"], tensors["res3_0_branch1_w"])
    assert torch.equal(contents.state["layer4.2.bn3.bias"], tensors["res5_2_branch2c_bn_b"])
    load_into(network, contents.state)
    x = torch.randn(2, 64, 8, 8)
    # The convolution of the file adds 0.25 to x before scale and shift.
    scaled = (x + 0.25) * tensors["res_conv1_bn_s"][:, None, None] + tensors["res_conv1_bn_b"][:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(network.bn1(x), scaled, rtol=1e-6, atol=1e-6)


def test_pickle_of_msra_for_torchvisions_pictures(tmp_path, random_release):
    tensors = caffe2_names(random_release(50)) | {
        "conv1_b": torch.full((64,), 1e-9),
        "conv1_w_momentum": torch.ones(1),
    }
    tensors = {name: tensor for name, tensor in tensors.items() if "fc1000" not in name}
    write_pickled_arrays(tmp_path / "R-50.pkl", {"blobs": tensors | {"bbox_pred_w": torch.zeros(1)}})
    out, options = tmp_path / "r50.safetensors", {"backbone_only": True, "target_input": "imagenet"}
    convert(tmp_path / "R-50.pkl", out, **options)
    # Needed by earlier releases, and no mistake now.
    options |= {"overwrite": True, "allow_unexpected": ["conv1_b"]}
    conversion = convert(tmp_path / "R-50.pkl", out, **options)
    assert 'use norm="frozen"' in conversion.describe()
    network = create_backbone("resnet50", weights=out, stride_on="1x1", norm="frozen", out_features=("res5",))
    assert network.input_spec == IMAGENET_INPUT
    red = network.conv1.weight[:, 0] / 58.395  # was the last channel, of deviation 1
    torch.testing.assert_close(red, tensors["conv1_w"][:, 2])


def test_detectors_of_detectron2_give_their_backbone():
    names = [
        "stem.conv1.weight",
        "stem.conv1.norm.bias",
        "res2.0.conv1.weight",
        "res4.5.shortcut.norm.weight",
    ]
    fpn = {f"backbone.bottom_up.{name}": torch.zeros(1) for name in names}
    fpn |= {"backbone.bottom_up.stem.conv1.bias": torch.zeros(1)}
    fpn |= {"backbone.fpn_lateral2.weight": torch.zeros(1), "roi_heads.box_head.fc1.weight": torch.zeros(1)}
    contents = detectron2.to_ours(fpn)
    assert contents.state.keys() >= {"conv1.weight", "bn1.bias", "layer1.0.conv1.weight"}
    assert "layer3.5.downsample.1.weight" in contents.state
    assert contents.rest_of_detector == {"backbone.fpn_lateral2.weight", "roi_heads.box_head.fc1.weight"}
    c4 = {f"backbone.{name}": torch.zeros(1) for name in names}
    c4 |= {
        "roi_heads.res5.0.conv3.norm.running_var": torch.zeros(1),
        "roi_heads.box_predictor.x": torch.zeros(1),
    }
    contents = detectron2.to_ours(c4)
    assert "layer4.0.bn3.running_var" in contents.state
    assert contents.rest_of_detector == {"roi_heads.box_predictor.x"}


@pytest.mark.detectron2
@pytest.mark.parametrize(
    ("name", "stride_on"), [("resnet18", "3x3"), ("resnet50", "3x3"), ("resnet50", "1x1")]
)
@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_detectron2s_network_gives_our_outputs(
    tmp_path, name, stride_on, suffix, ours, logits, relative_difference
):
    pytest.importorskip("detectron2")
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, BottleneckBlock, ResNet

    options = {"stride_on": stride_on} if stride_on == "1x1" else {}
    path, network = ours(tmp_path, name, **options)
    convert(path, tmp_path / f"theirs{suffix}", target_format="detectron2")
    if name == "resnet18":
        stages = ResNet.make_default_stages(18, block_class=BasicBlock, norm="FrozenBN")
    else:
        stages = ResNet.make_default_stages(
            50, block_class=BottleneckBlock, norm="FrozenBN", stride_in_1x1=stride_on == "1x1"
        )
    theirs = ResNet(BasicStem(norm="FrozenBN"), stages, num_classes=1000).eval()
    left = DetectionCheckpointer(theirs).load(str(tmp_path / f"theirs{suffix}"))
    assert left.keys() <= {"__author__", "matching_heuristics", "residual_backbones"}
    torch.manual_seed(1)
    with torch.no_grad():
        found = theirs(torch.randn(2, 3, 64, 64))["linear"]
    assert relative_difference(found, logits(network)) < 1e-5


def test_settings_for_detectron2():
    said = {
        name: FORMATS["detectron2"].settings(WeightsHeader(name, {}, IMAGENET_INPUT)).split(" INPUT")[0]
        for name in ("resnet34", "resnet101", "resnext101_32x8d", "wide_resnet50_2")
    }
    stride = "MODEL.RESNETS.STRIDE_IN_1X1 False"
    assert said == {
        "resnet34": f"MODEL.RESNETS.DEPTH 34 MODEL.RESNETS.RES2_OUT_CHANNELS 64 {stride}",
        "resnet101": f"MODEL.RESNETS.DEPTH 101 {stride}",
        "resnext101_32x8d": "MODEL.RESNETS.DEPTH 101 MODEL.RESNETS.NUM_GROUPS 32 "
        f"MODEL.RESNETS.WIDTH_PER_GROUP 8 {stride}",
        "wide_resnet50_2": "MODEL.RESNETS.DEPTH 50 MODEL.RESNETS.NUM_GROUPS 1 "
        f"MODEL.RESNETS.WIDTH_PER_GROUP 128 {stride}",
    }
