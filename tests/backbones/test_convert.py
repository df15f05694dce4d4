"""Round trips through every format to the last bit, and the same outputs from the networks of each."""

import re
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from backbones import (
    IMAGENET_INPUT,
    WeightsError,
    WeightsHeader,
    create_backbone,
    create_model,
    load_into,
    read_weights,
    save_weights,
)
from backbones.convert import akamaster_format as cifar
from backbones.convert import caffe_format as caffe
from backbones.convert import convert
from backbones.convert import detectron2_format as detectron2
from backbones.convert import timm_format as timm_names
from backbones.convert.caffemodel import Layer, write_caffemodel, write_mean
from backbones.convert.foreign_weights import MSRA_INPUT
from backbones.convert.formats import write_pickled_arrays
from backbones.convert.identification import build_for


def randomise(network: nn.Module) -> nn.Module:
    """Random affine parts and statistics: with the initial ones a mistake in their use would go unseen."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            module.num_batches_tracked.fill_(7)
    return network.eval()


def relative_difference(first: Tensor, second: Tensor) -> float:
    return ((first - second).abs().max() / second.abs().max()).item()


def ours(folder: Path, name: str, spec=IMAGENET_INPUT, **options) -> tuple[Path, nn.Module]:
    """A file of ours with random weights, and its network."""
    torch.manual_seed(0)
    network = randomise(create_model(name, **options))
    path = folder / "ours.safetensors"
    header = WeightsHeader(name, network.options, spec, dataset="x train", score={"top1": 50.0})
    save_weights(path, network.state_dict(), header)
    return path, network


def logits(network: nn.Module, size: int = 64) -> Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        return network(torch.randn(2, 3, size, size))


ROUND_TRIPS = [
    ("torchvision", "resnet18", "x.pth", {}, {"source_format": "torchvision"}),
    ("torchvision", "resnext50_32x4d", "x.safetensors", {}, {"source_format": "torchvision"}),
    ("timm", "resnet18", "x.pth", {}, {"source_format": "timm", "source_input": "imagenet"}),
    ("timm", "preact_resnet50", "x.safetensors", {}, {"source_input": "imagenet"}),
    ("detectron2", "resnet18", "x.pkl", {}, {}),
    ("detectron2", "resnet50", "x.pth", {"stride_on": "1x1", "spec": MSRA_INPUT}, {}),
    (
        *("caffe", "resnet50", "x.caffemodel"),
        {"stride_on": "1x1", "stem_pool": "ceil", "spec": MSRA_INPUT},
        {"mean": "x_mean.binaryproto"},
    ),
    ("cifar", "resnet20_cifar", "x.th", {}, {}),
    ("cifar", "resnet20_cifar", "x.pth", {"shortcut": "B"}, {}),
]


@pytest.mark.parametrize(("form", "name", "file", "options", "reading"), ROUND_TRIPS)
def test_round_trip_to_the_last_bit(tmp_path, form, name, file, options, reading):
    path, _ = ours(tmp_path, name, **options)
    convert(path, tmp_path / file, target_format=form)
    if "mean" in reading:
        reading = {"mean": tmp_path / reading["mean"]}
    back = tmp_path / "back.safetensors"
    convert(tmp_path / file, back, **reading)
    (before, header), (after, header_back) = read_weights(path), read_weights(back)
    kept = {key for key in before if form not in ("detectron2", "caffe") or "num_batches" not in key}
    assert after.keys() == kept and len(kept) > 100
    for key in kept:
        assert after[key].dtype == before[key].dtype and torch.equal(after[key], before[key]), key
    if form in ("detectron2", "cifar"):
        assert header_back == header  # these files have room for it
    assert header_back.input_spec == header.input_spec
    assert header_back.model == name and header_back.options == header.options


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_their_network_gives_our_outputs(tmp_path, kind, name):
    path, network = ours(tmp_path, name)
    convert(path, tmp_path / "theirs.pth", target_format=kind)
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)() if kind == "torchvision" else timm.create_model(name)
    state = torch.load(tmp_path / "theirs.pth", weights_only=True)
    theirs.load_state_dict(state, strict=True, assign=True)
    assert relative_difference(logits(theirs.eval()), logits(network)) < 1e-5


def test_our_network_gives_torchvisions_outputs(tmp_path):
    torch.manual_seed(0)
    theirs = randomise(torchvision.models.resnet18(num_classes=5))
    torch.save(
        {"epoch": 3, "state_dict": nn.DataParallel(theirs).state_dict()}, tmp_path / "checkpoint.pth.tar"
    )
    conversion = convert(
        tmp_path / "checkpoint.pth.tar", tmp_path / "r18.safetensors", source_format="torchvision"
    )
    assert conversion.coverage.percent == 100.0 and conversion.header.options["num_classes"] == 5
    network = create_model("resnet18", num_classes=5, weights=tmp_path / "r18.safetensors").eval()
    assert relative_difference(logits(network), logits(theirs)) < 1e-5


def test_preactivation_networks_of_timm(tmp_path):
    path, network = ours(tmp_path, "preact_resnet50")
    network.bn1.weight.data[::3] *= -1  # timm pools before this normalisation
    save_weights(path, network.state_dict(), read_weights(path)[1])
    convert(path, tmp_path / "timm.pth", target_format="timm")
    with torch.device("meta"):
        theirs = timm.create_model("resnetv2_50").eval()
    theirs.load_state_dict(torch.load(tmp_path / "timm.pth", weights_only=True), strict=True, assign=True)
    assert relative_difference(logits(theirs), logits(network)) < 1e-5
    convert(tmp_path / "timm.pth", tmp_path / "back.safetensors", source_input="inception")
    again = create_model("preact_resnet50", weights=tmp_path / "back.safetensors").eval()
    assert relative_difference(logits(again), logits(theirs)) < 1e-5
    assert again.input_spec.mean == (0.5, 0.5, 0.5)


def test_preactivation_networks_of_timm_that_have_no_equal():
    state = {"stem.conv.weight": torch.zeros(4, 3, 7, 7), "stages.0.blocks.0.norm1.weight": torch.ones(4)}
    with pytest.raises(WeightsError, match="resnetv2_18 and 34 do not normalise before the first shortcut"):
        timm_names.to_ours(state)
    state["stages.0.blocks.0.downsample.conv.weight"] = torch.zeros(4, 4, 1, 1)
    timm_names.to_ours(state)
    state["stages.0.blocks.0.norm1.weight"][:2] = -1
    with pytest.raises(WeightsError, match="2 channels of stages.0.blocks.0.norm1 have a negative factor"):
        timm_names.to_ours(state)


def test_vgg_is_known_by_its_tensors():
    for name in ("vgg16", "vgg19"):
        with torch.device("meta"):
            state = getattr(torchvision.models, name)(num_classes=7).state_dict()
        network = build_for(state, None, {})
        assert network.name == name and network.options["num_classes"] == 7


# ------------------------------------------------------------------------------------------ CIFAR


def akamaster(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """The forward pass of that project's networks, with its option A: zero channels on both sides."""

    def norm(x, prefix):
        return F.batch_norm(
            *(x, state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]),
            *(state[f"{prefix}.weight"], state[f"{prefix}.bias"]),
        )

    x = F.relu(norm(F.conv2d(images, state["conv1.weight"], padding=1), "bn1"))
    for stage in (1, 2, 3):
        for block in range(3):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(norm(F.conv2d(x, state[f"{at}.conv1.weight"], stride=stride, padding=1), f"{at}.bn1"))
            y = norm(F.conv2d(y, state[f"{at}.conv2.weight"], padding=1), f"{at}.bn2")
            if stride == 2 and f"{at}.shortcut.0.weight" in state:
                x = norm(F.conv2d(x, state[f"{at}.shortcut.0.weight"], stride=2), f"{at}.shortcut.1")
            elif stride == 2:
                quarter = y.shape[1] // 4
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
            x = F.relu(x + y)
    return F.linear(x.mean((2, 3)), state["linear.weight"], state["linear.bias"])


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_cifar_networks_with_zeros_on_both_sides(tmp_path, shortcut):
    path, network = ours(tmp_path, "resnet20_cifar", shortcut=shortcut)
    convert(path, tmp_path / "theirs.th", target_format="cifar")
    content = torch.load(tmp_path / "theirs.th", weights_only=True)["state_dict"]
    state = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    torch.manual_seed(1)
    with torch.no_grad():
        theirs = akamaster(state, torch.randn(2, 3, 32, 32))
        assert relative_difference(theirs, logits(network, 32)) < 1e-5
        # Their own values, as in a published file: ours must give what their network gives.
        for tensor in state.values():
            if tensor.is_floating_point():
                tensor.copy_(tensor + 0.01 * torch.rand_like(tensor))
        torch.save({"best_prec1": 91.0, "state_dict": state}, tmp_path / "published.th")
        convert(tmp_path / "published.th", tmp_path / "published.safetensors")
        again = create_model("resnet20_cifar", weights=tmp_path / "published.safetensors", shortcut=shortcut)
        torch.manual_seed(1)
        theirs = akamaster(state, torch.randn(2, 3, 32, 32))
        assert relative_difference(logits(again.eval(), 32), theirs) < 1e-5


def test_option_a_in_their_order_by_hand():
    # One channel becomes two, then four. Theirs: half of the zeros first, none for one channel (1 // 2 = 0).
    state = {"conv1.weight": torch.zeros(2, 3, 1, 1)}
    for stage, width in ((2, 4), (3, 8)):
        state[f"layer{stage}.0.bn2.weight"] = torch.arange(float(width))
    state["linear.weight"] = torch.arange(8.0)[None]
    found = cifar.to_ours(state).state
    assert found["layer2.0.bn2.weight"].tolist() == [1, 2, 0, 3]  # theirs: zero, old, old, zero
    assert found["layer3.0.bn2.weight"].tolist() == [3, 4, 2, 5, 0, 1, 6, 7]
    assert found["fc.weight"].tolist() == [[3, 4, 2, 5, 0, 1, 6, 7]]


# ------------------------------------------------------------------------------------------ Caffe

RELEASE = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def block_names(depth: int) -> list[tuple[int, list[str]]]:
    """Blocks as the release names them: 2a 2b 2c 3a 3b …, in 101 layers 3b1 3b2 … and 4b1 … 4b22."""
    named = []
    for stage, count in zip((2, 3, 4, 5), RELEASE[depth], strict=True):
        if depth > 50 and stage in (3, 4):
            named.append((stage, [f"{stage}a", *(f"{stage}b{i}" for i in range(1, count))]))
        else:
            named.append((stage, [f"{stage}{letter}" for letter in "abcdef"[:count]]))
    return named


def random_release(depth: int, width: int = 64) -> list[Layer]:
    """A model like those released: statistics with a factor, and with 50 layers a bias in conv1."""
    torch.manual_seed(0)
    layers = []

    def add(names: tuple[str, str, str], *shape: int, bias: bool = False) -> None:
        fan_in, factor = shape[1] * shape[2] * shape[3], 999.98
        blobs = [torch.randn(shape) * (2 / fan_in) ** 0.5]
        if bias:
            blobs.append(torch.randn(shape[0]))
        mean, var = 0.1 * torch.randn(shape[0]), 0.5 + 1.5 * torch.rand(shape[0])
        layers.append(Layer(names[0], blobs, "Convolution"))
        layers.append(Layer(names[1], [mean * factor, var * factor, torch.tensor([factor])], "BatchNorm"))
        layers.append(Layer(names[2], [0.5 + torch.rand(shape[0]) / 2, 0.1 * torch.randn(shape[0])], "Scale"))

    add(("conv1", "bn_conv1", "scale_conv1"), 64, 3, 7, 7, bias=depth == 50)
    channels = 64
    for stage, blocks in block_names(depth):
        inner, outer = width << (stage - 2), 4 * width << (stage - 2)
        for block in blocks:
            kinds = ("res", "bn", "scale")
            if block.endswith("a"):
                add(tuple(f"{kind}{block}_branch1" for kind in kinds), outer, channels, 1, 1)
            add(tuple(f"{kind}{block}_branch2a" for kind in kinds), inner, channels, 1, 1)
            add(tuple(f"{kind}{block}_branch2b" for kind in kinds), inner, inner, 3, 3)
            add(tuple(f"{kind}{block}_branch2c" for kind in kinds), outer, inner, 1, 1)
            channels = outer
    layers.append(Layer("fc1000", [0.01 * torch.randn(1000, channels), torch.randn(1000)], "InnerProduct"))
    return layers


def caffe_forward(layers: list[Layer], images: Tensor, depth: int) -> Tensor:
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
    for stage, blocks in block_names(depth):
        for block in blocks:
            stride = 2 if stage > 2 and block.endswith("a") else 1
            names = [
                [f"{kind}{block}_branch{b}" for kind in ("res", "bn", "scale")]
                for b in ("1", "2a", "2b", "2c")
            ]
            y = F.relu(conv_bn_scale(x, *names[1], stride=stride))
            y = F.relu(conv_bn_scale(y, *names[2], padding=1))
            y = conv_bn_scale(y, *names[3])
            shortcut = conv_bn_scale(x, *names[0], stride=stride) if block.endswith("a") else x
            x = F.relu(shortcut + y)
    return F.linear(x.mean((2, 3)), *blobs["fc1000"])


@pytest.mark.parametrize("size", [64, 75])
def test_the_caffe_release_gives_caffes_outputs(tmp_path, size):
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
        theirs = caffe_forward(layers, torch.randn(2, 3, size, size), 50)
    assert relative_difference(logits(network, size), theirs) < 1e-5
    if size == 64:  # the usual pooling lies a pixel beside it, and no shape tells
        with pytest.raises(ValueError, match="is for stem_pool='ceil', not 'padded'; give stem_pool='ceil'"):
            create_model("resnet50", weights=out, stride_on="1x1")
        other = create_model("resnet50", stride_on="1x1").eval()
        other.load_state_dict(network.state_dict())
        assert relative_difference(logits(other), theirs) > 1e-3


def test_names_of_the_deeper_release():
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


# ------------------------------------------------------------------------------------- detectron2


def caffe2_names(depth: int = 50) -> dict[str, Tensor]:
    """MSRA's model as the Caffe2 project keeps it: normalisation folded into scale and shift."""
    tensors = {}
    for layer in random_release(depth):
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


def test_folded_normalisation_of_msra():
    tensors = caffe2_names() | {"conv1_b": torch.full((64,), 1e-9)}
    contents = detectron2.to_ours(tensors)
    assert contents.unused.keys() == {"conv1_b"}  # detectron2 itself leaves it out
    assert contents.input_spec == MSRA_INPUT and contents.stride_on == "1x1"
    network = create_model("resnet50", stride_on="1x1").eval()
    expected = {name for name in network.state_dict() if "num_batches" not in name}
    assert contents.state.keys() == expected
    assert torch.equal(contents.state["layer2.0.downsample.0.weight"], tensors["res3_0_branch1_w"])
    assert torch.equal(contents.state["layer4.2.bn3.bias"], tensors["res5_2_branch2c_bn_b"])
    load_into(network, contents.state)
    x = torch.randn(2, 64, 8, 8)
    scaled = x * tensors["res_conv1_bn_s"][:, None, None] + tensors["res_conv1_bn_b"][:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(network.bn1(x), scaled, rtol=1e-6, atol=1e-6)


def test_pickle_of_msra_for_torchvisions_pictures(tmp_path):
    tensors = caffe2_names() | {"conv1_b": torch.full((64,), 1e-9), "conv1_w_momentum": torch.ones(1)}
    tensors = {name: tensor for name, tensor in tensors.items() if "fc1000" not in name}
    write_pickled_arrays(tmp_path / "R-50.pkl", {"blobs": tensors | {"bbox_pred_w": torch.zeros(1)}})
    out, options = tmp_path / "r50.safetensors", {"backbone_only": True, "target_input": "imagenet"}
    with pytest.raises(WeightsError, match=r"unused:\n    conv1_b \(64,\)"):
        convert(tmp_path / "R-50.pkl", out, **options)
    conversion = convert(tmp_path / "R-50.pkl", out, **options, allow_unexpected=["conv1_b"])
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
def test_detectron2s_network_gives_our_outputs(tmp_path, name, stride_on, suffix):
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
