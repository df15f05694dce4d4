"""Networks cut: the parts compute what the whole computes, and say what they give."""

import pytest
import torch

from backbones import FeatureSpec, OptionError, create_backbone, create_model, create_trunk_and_head
from backbones.features import FeatureNetwork, StageHead
from backbones.norm import FrozenBatchNorm2d

STAGES = ["stem", "res2", "res3", "res4", "res5"]


@pytest.mark.parametrize("size", [(64, 96), (75, 91), (33, 1)])
@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", STAGES),
        ("plain34", STAGES),
        ("resnet50", STAGES),
        ("preact_resnet18", STAGES),
        ("preact_resnet50", STAGES),
        ("resnet20_cifar", STAGES[:4]),
        ("preact_resnet29_cifar", STAGES[:4]),
    ],
)
def test_features_are_what_the_specifications_say(name, stages, size):
    network = create_backbone(name, out_features=stages).eval()
    with torch.no_grad():
        features = network(torch.randn(1, 3, *size))
    assert list(features) == list(network.feature_specs) == stages
    for feature, spec in network.feature_specs.items():
        height, width = (-(-pixels // spec.stride) for pixels in size)
        assert features[feature].shape == (1, spec.channels, height, width)


def test_specifications_of_table_1():
    network = create_backbone("resnet101", out_features=("res4",))
    assert network.feature_specs == {"res4": FeatureSpec(channels=1024, stride=16)}
    assert create_backbone("resnet34", out_features=("res2", "res5")).feature_specs == {
        "res2": FeatureSpec(64, 4),
        "res5": FeatureSpec(512, 32),
    }
    cifar = create_backbone("resnet20_cifar", out_features=("stem", "res4"))
    assert cifar.feature_specs == {"stem": FeatureSpec(16, 1), "res4": FeatureSpec(64, 4)}


@pytest.mark.parametrize(
    "name",
    ["resnet18", "plain18", "resnet50", "plain20_cifar", "preact_resnet18", "preact_resnet20_cifar"],
)
def test_classifier_on_the_last_feature_gives_the_networks_logits(name):
    torch.manual_seed(0)
    network = create_model(name).eval()
    last = list(network.stages)[-1]
    images = torch.randn(2, 3, 75, 91)
    with torch.no_grad():
        features = FeatureNetwork(network, list(network.stages))(images)
        alone = FeatureNetwork(network, (last,))(images)
        assert torch.equal(network.fc(features[last].mean((2, 3))), network(images))
    assert list(alone) == [last] and torch.equal(alone[last], features[last])


def test_order_and_repetition_of_the_names_do_not_matter():
    network = create_backbone("resnet18", out_features=["res3", "stem", "res3"])
    assert list(network.feature_specs) == ["stem", "res3"]


def test_stages_after_the_last_feature_are_left_out():
    names = {name.split(".")[0] for name in create_backbone("resnet50").state_dict()}
    assert names == {"conv1", "bn1", "layer1", "layer2", "layer3"}


def test_features_are_not_changed_by_later_stages():
    network = create_model("resnet18").eval()
    with torch.no_grad():
        for feature in STAGES:
            together = FeatureNetwork(network, STAGES)(IMAGES)[feature]
            assert torch.equal(together, FeatureNetwork(network, (feature,))(IMAGES)[feature])


IMAGES = torch.randn(1, 3, 48, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("resnet50", "res4"),
        ("plain18", "stem"),
        ("resnet20_cifar", "res3"),
        ("preact_resnet50", "res3"),
        ("preact_resnet20_cifar", "res2"),
    ],
)
def test_head_behind_trunk_is_the_whole_network(name, split):
    torch.manual_seed(0)
    whole = create_model(name).eval()
    trunk, head = FeatureNetwork(whole, (split,)), StageHead(whole, split)
    with torch.no_grad():
        result = head(trunk(IMAGES)[split])
        assert torch.equal(whole.fc(result.mean((2, 3))), whole(IMAGES))
    assert list(trunk.state_dict()) + list(head.state_dict()) + ["fc.weight", "fc.bias"] == list(
        whole.state_dict()
    )


def test_head_of_c4_takes_regions():
    trunk, head = create_trunk_and_head("resnet50", split="res4", norm="frozen")
    assert trunk.feature_specs == {"res4": FeatureSpec(1024, 16)}
    assert head.feature_specs == {"res5": FeatureSpec(2048, 2)}  # relative to the regions
    assert head.in_channels == 1024
    assert head(torch.randn(3, 1024, 14, 14)).shape == (3, 2048, 7, 7)
    assert head(torch.randn(0, 1024, 14, 14)).shape == (0, 2048, 7, 7)
    norms = [m for part in (trunk, head) for m in part.modules() if "BatchNorm" in type(m).__name__]
    assert len(norms) == 53 and {type(norm) for norm in norms} == {FrozenBatchNorm2d}


def test_parts_carry_the_networks_name_and_options():
    for part in create_trunk_and_head("resnet50", stride_on="1x1", shortcut="C"):
        assert part.name == "resnet50"
        assert part.options == {"shortcut": "C", "stride_on": "1x1", "zero_init_residual": False}


@pytest.mark.parametrize(
    ("out_features", "message"),
    [
        ((), r"^out_features must be a list of names from stem, res2, res3, res4, res5, got \(\)$"),
        ("res4", "^out_features must be a list of names from stem, .*, got 'res4'$"),
        (("res44",), "^unknown feature 'res44'; did you mean 'res4'"),
        (("layer3",), "^unknown feature 'layer3'; choose from stem, res2, res3, res4, res5$"),
    ],
)
def test_impossible_features(out_features, message):
    with pytest.raises(OptionError, match=message):
        create_backbone("resnet18", out_features=out_features)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("resnet18", "res4"),
        ("preact_resnet18", "res4"),
        ("resnet20_cifar", "res3"),
        ("highway19_cifar", "res3"),
    ],
)
def test_by_default_the_head_is_one_stage(name, split):
    trunk, head = create_trunk_and_head(name)
    assert list(trunk.feature_specs) == [split] and len(head.feature_specs) == 1


@pytest.mark.parametrize("split", ["res5", "layer3"])
def test_split_must_leave_a_head(split):
    with pytest.raises(OptionError, match=f"^split must be one of stem, res2, res3, res4, got '{split}'$"):
        create_trunk_and_head("resnet50", split=split)
