"""VGG: torchvision's network, cut for detection as in Fast R-CNN."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from backbones import (
    FeatureSpec,
    OptionError,
    WeightsError,
    create_backbone,
    create_model,
    create_trunk_and_head,
    read_weights,
    save_weights,
)
from backbones.features import FeatureNetwork, StageHead
from backbones.weights.weights_header import WeightsHeader

STAGES = [f"conv{i}" for i in range(1, 6)]


@pytest.fixture(scope="module")
def vgg16() -> nn.Module:
    torch.manual_seed(0)
    return create_model("vgg16", num_classes=5).eval()


@pytest.mark.parametrize("depth", [16, 19])
def test_logits_and_features_equal_torchvision(
    depth, build_equal: Callable[..., nn.Module], relative_difference: Callable
):
    ours = create_model(f"vgg{depth}").eval()
    theirs = build_equal(getattr(torchvision.models, f"vgg{depth}"), ours).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    # The ReLU before each pooling: behind conv1_2 … conv5_3 (conv5_4) of Simonyan and Zisserman.
    ends = [i - 1 for i, layer in enumerate(theirs.features) if isinstance(layer, nn.MaxPool2d)]
    for size in ((75, 91), (64, 33)):
        images = torch.randn(1, 3, *size)
        with torch.no_grad():
            assert relative_difference(ours(images), theirs(images)) < 1e-5
            features = FeatureNetwork(ours, STAGES)(images)
            for i, (name, feature) in enumerate(features.items()):
                assert torch.equal(feature, theirs.features[: ends[i] + 1](images))
                channels, stride = (64, 128, 256, 512, 512)[i], 2**i
                assert feature.shape[1:] == (channels, size[0] // stride, size[1] // stride)
                assert ours.feature_specs[name] == FeatureSpec(channels, stride)


def test_same_seed_gives_torchvisions_initial_weights(vgg16):
    torch.manual_seed(0)
    theirs = torchvision.models.vgg16(num_classes=5).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in vgg16.state_dict().items())


def test_trunk_and_head_are_fast_rcnns(vgg16, relative_difference):
    trunk, head = FeatureNetwork(vgg16, ("conv5",)), StageHead(vgg16, "conv5")
    assert trunk.feature_specs == {"conv5": FeatureSpec(512, 16)}
    assert (head.in_channels, head.feature_specs) == (512, {"fc": FeatureSpec(4096, 7)})
    names = list(trunk.state_dict()) + list(head.state_dict())
    assert [*names, "classifier.6.weight", "classifier.6.bias"] == list(vgg16.state_dict())
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        # The whole picture as the only region, pooled as the classifier pools it, gives its logits.
        vectors = head(nn.functional.max_pool2d(trunk(images)["conv5"], 2))
        assert vectors.shape == (1, 4096, 1, 1)
        logits = vgg16.classifier[6](vectors.flatten(1))
        assert relative_difference(logits, vgg16(images)) < 1e-5
    assert head(torch.randn(0, 512, 7, 7)).shape == (0, 4096, 1, 1)
    dropped = head.train()(torch.ones(1, 512, 7, 7)) == 0
    assert 0.4 < dropped.float().mean() < 0.95  # by ReLU and by dropout
    head.eval()


@pytest.mark.parametrize("size", [(14, 14), (7, 8), (1, 1)])
def test_regions_of_another_size_are_refused(size, vgg16):
    message = f"vgg16: fc6 takes regions of 7x7, got {size[0]}x{size[1]}; pool them .*roi.size=7"
    with pytest.raises(OptionError, match=message):
        StageHead(vgg16, "conv5")(torch.randn(2, 512, *size))


def test_an_earlier_split_takes_the_poolings_along(vgg16):
    head = StageHead(vgg16, "conv4")
    assert head.feature_specs == {"fc": FeatureSpec(4096, 14)}
    with torch.no_grad():
        assert head(torch.randn(2, 512, 14, 14)).shape == (2, 4096, 1, 1)
    with pytest.raises(OptionError, match="split must be one of conv1, .*, conv5, got 'res4'"):
        StageHead(vgg16, "res4")


def test_frozen_stages_and_default_split():
    with torch.device("meta"):
        trunk, head = create_trunk_and_head("vgg16", frozen_stages=2, norm="frozen")
    assert list(trunk.feature_specs) == ["conv5"] and list(head.feature_specs) == ["fc"]
    fixed = {name for name, parameter in trunk.named_parameters() if not parameter.requires_grad}
    # conv1_1, conv1_2, conv2_1, conv2_2
    assert fixed == {f"features.{i}.{kind}" for i in (0, 2, 5, 7) for kind in ("weight", "bias")}


def test_weights_of_torchvision_and_of_ours(vgg16, tmp_path, caplog):
    theirs, ours = tmp_path / "vgg16.pth", tmp_path / "ours.safetensors"
    torch.save(vgg16.state_dict(), theirs)
    with pytest.raises(WeightsError, match="is for 5 classes, the network for 1000; give num_classes=5"):
        create_model("vgg16", weights=theirs)
    save_weights(ours, vgg16.state_dict(), WeightsHeader(vgg16.name, vgg16.options, vgg16.input_spec))
    trunk, head = create_trunk_and_head("vgg16", weights=ours)
    assert caplog.text == ""
    backbone = create_backbone("vgg16", out_features=("conv3",), weights=theirs)
    assert "Assumed: trained with norm epsilon" in caplog.text and "stride_on" not in caplog.text
    for part in (trunk, head, backbone):
        assert all(torch.equal(value, vgg16.state_dict()[name]) for name, value in part.state_dict().items())
    assert read_weights(ours)[1].options == {"num_classes": 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortcut": "B"}, "vgg16 has no residual shortcuts; leave out shortcut='B'"),
        ({"zero_init_residual": True}, "vgg16 has no residual shortcuts"),
        ({"stride_on": "1x1"}, "vgg16 has no bottlenecks"),
        ({"dilation": ["res5"]}, "vgg16 has no stages that can be dilated"),
        ({"norm": "sync"}, "vgg16 has no batch normalisation; leave out norm='sync'"),
    ],
)
def test_options_that_do_not_apply(options, message):
    with torch.device("meta"), pytest.raises(OptionError, match=message):
        create_model("vgg16", **options)


def test_only_stages_are_features():
    with torch.device("meta"), pytest.raises(OptionError, match="unknown feature 'fc'; choose from conv1"):
        create_backbone("vgg16", out_features=("fc",))
