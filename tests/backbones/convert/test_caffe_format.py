"""The networks of the Caffe release give Caffe's outputs."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbones import (
    create_model,
)
from backbones.convert import caffe_format as caffe
from backbones.convert import convert
from backbones.convert.caffemodel import Layer, write_caffemodel, write_mean


def caffe_forward(layers: list[Layer], images: Tensor) -> Tensor:
    """What Caffe computes with these blobs and the release's deploy.prototxt."""
    blobs = {layer.name: layer.blobs for layer in layers}

    def conv_bn_scale(x, conv, bn, scale, **geometry):
        x = F.conv2d(x, *blobs[conv], **geometry)
        mean, var, factor = blobs[bn]
        x = (x - (mean / factor)[:, None, None]) / (var / factor + 1e-5).sqrt()[:, None, None]
        return x * blobs[scale][0][:, None, None] + blobs[scale][1][:, None, None]

    x = F.relu(conv_bn_scale(images, "conv1", "bn_conv1", "scale_conv1", stride=2, padding=3))
    # No padding: the window of output i begins at input 2i, the last one is cut off by the border.
    rows, columns = (-(-(size - 3) // 2) + 1 for size in x.shape[2:])
    x = torch.stack(
        [
            torch.stack(
                [x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax((2, 3)) for j in range(columns)], -1
            )
            for i in range(rows)
        ],
        -2,
    )
    for block in re.findall(r"res(\w+)_branch2a", " ".join(blobs)):
        stage = int(block[0])
        stride = 2 if stage > 2 and block.endswith("a") else 1
        names = [
            [f"{kind}{block}_branch{b}" for kind in ("res", "bn", "scale")] for b in ("1", "2a", "2b", "2c")
        ]
        y = F.relu(conv_bn_scale(x, *names[1], stride=stride))
        y = F.relu(conv_bn_scale(y, *names[2], padding=1))
        y = conv_bn_scale(y, *names[3])
        shortcut = conv_bn_scale(x, *names[0], stride=stride) if block.endswith("a") else x
        x = F.relu(shortcut + y)
    return F.linear(x.mean((2, 3)), *blobs["fc1000"])


@pytest.mark.parametrize("size", [64, 75])
def test_the_caffe_release_gives_caffes_outputs(tmp_path, size, logits, relative_difference, random_release):
    layers = random_release(50)
    write_caffemodel(tmp_path / "ResNet-50-model.caffemodel", "ResNet-50", layers)
    write_mean(tmp_path / "ResNet_mean.binaryproto", (103.0626, 115.9029, 123.1516))
    out = tmp_path / "r50.safetensors"
    conversion = convert(
        tmp_path / "ResNet-50-model.caffemodel", out, mean=tmp_path / "ResNet_mean.binaryproto"
    )
    assert conversion.header.input_spec.order == "BGR" and conversion.header.input_spec.range == 255.0
    assert conversion.header.input_spec.mean == pytest.approx((103.0626, 115.9029, 123.1516), abs=1e-6)
    network = create_model("resnet50", weights=out, stride_on="1x1", stem_pool="ceil").eval()
    torch.manual_seed(1)
    with torch.no_grad():
        theirs = caffe_forward(layers, torch.randn(2, 3, size, size))
    assert relative_difference(logits(network, size), theirs) < 1e-5
    if size == 64:  # the usual pooling lies a pixel beside it, and no shape tells
        with pytest.raises(ValueError, match="is for stem_pool='ceil', not 'padded'; give stem_pool='ceil'"):
            create_model("resnet50", weights=out, stride_on="1x1")
        other = create_model("resnet50", stride_on="1x1").eval()
        other.load_state_dict(network.state_dict())
        assert relative_difference(logits(other), theirs) > 1e-3


def test_names_of_the_deeper_release(random_release):
    layers = random_release(101, width=2)
    contents = caffe.to_ours(layers)
    with torch.device("meta"):
        network = create_model("resnet101")
    expected = {name for name in network.state_dict() if "num_batches" not in name}
    assert contents.state.keys() == expected and not contents.unused
    written = {layer.name for layer in caffe.from_ours(contents.state)}
    assert written == {layer.name for layer in layers} and "res4b22_branch2c" in written
    assert len(caffe.from_ours(contents.state)[0].blobs) == 1  # 101 layers: no bias in conv1


def test_statistics_of_caffe_are_divided_by_their_factor():
    blobs = [torch.tensor([6.0]), torch.tensor([9.0]), torch.tensor([3.0])]
    assert caffe.to_ours([Layer("bn_conv1", blobs)]).state["bn1.running_mean"].tolist() == [2.0]
    blobs[2] = torch.zeros(1)  # nothing was counted: Caffe takes 0
    state = caffe.to_ours([Layer("bn_conv1", blobs)]).state
    assert state["bn1.running_mean"].tolist() == state["bn1.running_var"].tolist() == [0.0]


def test_layers_of_caffe_without_a_place_are_named():
    layers = [Layer("conv1", [torch.zeros(2, 3, 7, 7), torch.ones(2)]), Layer("cls", [torch.zeros(4)])]
    assert caffe.to_ours(layers).unused.keys() == {"conv1[1]", "cls[0]"}  # no mean to move the bias into
