"""Our networks through timm's factory: what timm's users rely on, and equal to what we build ourselves."""

import logging

import pytest
import timm
import torch
from timm.data import resolve_data_config
from torch import nn

import backbones.adapters.timm as adapter
from backbones import (
    InputSpec,
    OptionError,
    WeightsError,
    WeightsHeader,
    create_backbone,
    create_model,
    list_models,
    save_weights,
)
from backbones.norm import set_norm_eps

IMAGES = torch.randn(2, 3, 75, 91, generator=torch.Generator().manual_seed(0))
STAGES = ("stem", "res2", "res3", "res4", "res5")
SPEC = InputSpec(mean=(51.0, 102.0, 127.5), std=(51.0, 25.5, 255.0), range=255.0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A ResNet-18 of 5 classes with an epsilon and pictures that no default has, and its file."""
    torch.manual_seed(0)
    network = create_model("resnet18", num_classes=5, shortcut="C").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.01, 0.1)
            nn.init.normal_(module.running_mean, std=0.1)
    set_norm_eps(network, 0.05)
    file = tmp_path_factory.mktemp("timm") / "r18.safetensors"
    save_weights(file, network.state_dict(), WeightsHeader("resnet18", network.options, SPEC, norm_eps=0.05))
    return network, file


def test_every_name_is_registered_beside_timms_own():
    names = set(timm.list_models("rb_*"))
    assert names == {"rb_" + name for name in list_models() if not name.startswith(("vgg", "highway"))}
    assert {"resnet50", "rb_resnet50", "rb_preact_resnet164_cifar"} <= set(timm.list_models())
    assert type(timm.create_model("resnet18")).__module__ == "timm.models.resnet"


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "preact_resnet18", "plain20_cifar", "resnet20_cifar"]
)
def test_logits_features_and_names_are_ours(name):
    torch.manual_seed(0)
    theirs = timm.create_model("rb_" + name, num_classes=7).eval()
    ours = create_model(name, num_classes=7).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(theirs(IMAGES), ours(IMAGES))
        features = theirs.forward_features(IMAGES)
        assert features.shape[1] == theirs.num_features == theirs.head_hidden_size
        pooled = theirs.forward_head(features, pre_logits=True)
        torch.testing.assert_close(pooled, features.mean((2, 3)))
        assert torch.equal(theirs.forward_head(features), theirs.fc(pooled))


@pytest.mark.parametrize("feature_cls", ["list", "dict", "getter", "hook", "fx"])
def test_features_only(feature_cls):
    torch.manual_seed(0)
    features = timm.create_model(
        "rb_preact_resnet18", features_only=True, out_indices=(1, 4), feature_cls=feature_cls
    )
    ours = create_backbone("preact_resnet18", out_features=("res2", "res5"))
    # Extractors differ in prefixes and keep the classifier or not, never in the order of tensors.
    names, tensors = list(ours.state_dict()), list(features.state_dict().values())
    ours.load_state_dict(dict(zip(names, tensors[: len(names)], strict=True)))
    with torch.no_grad():
        found = features.eval()(IMAGES)
        found = list(found.values()) if isinstance(found, dict) else found
        for one, other in zip(found, ours.eval()(IMAGES).values(), strict=True):
            torch.testing.assert_close(one, other)
    assert features.feature_info.channels() == [64, 512] and features.feature_info.reduction() == [4, 32]


def test_feature_info_is_that_of_timms_own():
    ours, theirs = (timm.create_model(name, features_only=True) for name in ("rb_resnet50", "resnet50"))
    for what in ("channels", "reduction"):
        assert getattr(ours.feature_info, what)() == getattr(theirs.feature_info, what)()
    assert ours.feature_info.module_name() == ["relu", "layer1", "layer2", "layer3", "layer4"]
    cifar = timm.create_model("rb_resnet20_cifar", features_only=True)
    assert cifar.feature_info.reduction() == [1, 1, 2, 4]  # one feature fewer than timm's default asks for


def test_intermediates():
    network = timm.create_model("rb_resnet18").eval()
    with torch.no_grad():
        last, maps = network.forward_intermediates(IMAGES, indices=[0, 3])
        assert torch.equal(last, network.forward_features(IMAGES))
        assert [feature.shape[1] for feature in maps] == [64, 256]
        early = network.forward_intermediates(IMAGES, indices=[1], stop_early=True, intermediates_only=True)
        assert [feature.shape[1] for feature in early] == [64]
    with pytest.raises(OptionError, match="NCHW, got output_fmt='NLC'"):
        network.forward_intermediates(IMAGES, output_fmt="NLC")


@pytest.mark.parametrize(("indices", "kept"), [((0, 2), 3), (2, 5), ((1, -1), 5), ((0,), 1)])
def test_the_getter_keeps_only_what_its_features_need(indices, kept):
    torch.manual_seed(0)
    network = timm.create_model(
        "rb_preact_resnet18", features_only=True, out_indices=indices, feature_cls="getter"
    )
    chosen = [3, 4] if indices == 2 else [index % 5 for index in indices]  # a number: so many of the last
    assert list(network.model.stages) == list(STAGES[:kept])
    maps = network(IMAGES)
    assert [features.shape[1] for features in maps] == network.feature_info.channels()
    assert network.feature_info.reduction() == [(2, 4, 8, 16, 32)[index] for index in chosen]
    sum(features.sum() for features in maps).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_pruning_keeps_the_classifier_where_asked_and_possible():
    network = timm.create_model("rb_resnet18", num_classes=3)
    assert network.prune_intermediate_layers(2, prune_head=False) == [3, 4] and network(IMAGES).shape == (
        2,
        3,
    )
    assert network.prune_intermediate_layers([1, 2], prune_head=False) == [1, 2]
    assert network.num_features == network.head_hidden_size == 128 and network.num_classes == 0
    assert network.forward_features(IMAGES).shape == network(IMAGES).shape == (2, 128, 10, 12)
    with pytest.raises(AssertionError, match="out of range"):  # timm's own
        network.prune_intermediate_layers([3])


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        (
            {"drop_path_rate": 0.1},
            r"drop_path_rate \(got 0.1\); these networks drop no residuals; leave it out",
        ),
        ({"bn_eps": 1e-3}, r"bn_eps \(got 0.001\); a weight file's header sets it, or set_norm_eps of"),
        ({"block_args": {}}, r"block_args \(got {}\); leave it out, or choose from shortcut, stride_on, "),
    ],
)
def test_arguments_that_only_other_networks_take_are_refused_by_name(option, remedy):
    for error in (OptionError, TypeError):
        with pytest.raises(error, match=f"rb_resnet18 has no {remedy}"):
            timm.create_model("rb_resnet18", **option)


def test_the_extractor_may_be_configured_in_one_argument():
    configured = {"feature_cls": "getter", "out_indices": (1, 2)}
    network = timm.create_model("rb_resnet18", features_only=True, feature_cfg=configured)
    assert network.feature_info.channels() == [64, 128] and not hasattr(network.model, "layer3")


@pytest.mark.parametrize("options", [{}, {"features_only": True}, {"num_classes": 3, "in_chans": 1}])
def test_device_and_precision(options):
    network = timm.create_model("rb_preact_resnet18", device="meta", dtype=torch.bfloat16, **options)
    found = {(value.device.type, value.dtype) for value in network.parameters()}
    assert found == {("meta", torch.bfloat16)}


def test_classifier_and_pooling_can_be_replaced():
    network = timm.create_model("rb_resnet18", global_pool="catavgmax", num_classes=3, drop_rate=0.5)
    assert network.get_classifier().in_features == network.head_hidden_size == 1024
    network.eval().reset_classifier(4, "max")
    assert network(IMAGES).shape == (2, 4) and not network.get_classifier().training
    with torch.no_grad():
        pooled = network.forward_head(network.forward_features(IMAGES), pre_logits=True)
        torch.testing.assert_close(pooled, network.forward_features(IMAGES).amax((2, 3)))
    network.reset_classifier(0)
    assert network(IMAGES).shape == (2, 512) and network.num_classes == 0
    assert timm.create_model("rb_resnet18", num_classes=0, global_pool="")(IMAGES).shape == (2, 512, 3, 3)


def test_options_and_output_stride_reach_our_network():
    network = timm.create_model("rb_resnet50", stride_on="1x1", shortcut="C")
    assert network.layer2[0].conv1.stride == (2, 2) and isinstance(
        network.layer1[1].downsample, nn.Sequential
    )
    dilated = timm.create_model("rb_resnet18", output_stride=8, features_only=True)
    assert dilated.feature_info.reduction() == [2, 4, 8, 8, 8]
    assert dilated(IMAGES)[-1].shape == (2, 512, 10, 12)
    with pytest.raises(OptionError, match=r"output_stride must be one of \[32, 16, 8\], got 4"):
        timm.create_model("rb_resnet18", output_stride=4)


def test_other_colours():
    torch.manual_seed(0)
    colour = create_model("resnet18").eval()
    state = colour.state_dict()
    grey = timm.create_model("rb_resnet18", in_chans=1).eval()
    grey.load_state_dict(state | {"conv1.weight": state["conv1.weight"].sum(1, keepdim=True)})
    adapted = timm.create_model(  # timm's own loading, which knows the first convolution by pretrained_cfg
        "rb_resnet18", in_chans=1, pretrained=True, pretrained_cfg_overlay={"state_dict": state}
    ).eval()
    with torch.no_grad():
        picture = IMAGES[:, :1]
        torch.testing.assert_close(grey(picture), colour(picture.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(adapted(picture), grey(picture))


def test_checkpointing_does_not_change_gradients():
    torch.manual_seed(0)
    network = timm.create_model("rb_resnet18", num_classes=2).train()
    gradients = []
    for enable in (False, True):
        network.set_grad_checkpointing(enable)
        network.zero_grad()
        network(IMAGES).sum().backward()
        gradients.append(network.conv1.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-4)


def test_checkpointing_saves_memory_in_intermediates_too():
    network = timm.create_model("rb_resnet18", num_classes=2).train()
    kept = []

    def keep(values: torch.Tensor) -> torch.Tensor:
        kept[-1] += values.numel()
        return values

    for enable in (False, True):
        network.set_grad_checkpointing(enable)
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
            network.forward_intermediates(IMAGES)
    assert kept[1] < kept[0] / 2


def test_our_file_sets_epsilon_classes_and_normalisation(saved):
    ours, file = saved
    theirs = timm.create_model("rb_resnet18", weights=file, shortcut="C").eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(IMAGES), ours(IMAGES))
    data = resolve_data_config(model=theirs)
    assert data["mean"] == pytest.approx((0.2, 0.4, 0.5)) and data["std"] == pytest.approx((0.2, 0.1, 1.0))
    assert (theirs.num_classes, theirs.pretrained_cfg["num_classes"]) == (5, 5)
    features = timm.create_model("rb_resnet18", weights=file, shortcut="C", features_only=True).eval()
    assert features.pretrained_cfg["mean"] == pytest.approx((0.2, 0.4, 0.5))
    with torch.no_grad():
        torch.testing.assert_close(features(IMAGES)[-1], theirs.forward_features(IMAGES))


def test_a_file_of_another_network_is_refused(saved, tmp_path):
    _, file = saved
    with pytest.raises(WeightsError, match="was trained with shortcut='C', not 'B'"):
        timm.create_model("rb_resnet18", weights=file)
    with pytest.raises(WeightsError, match="is of resnet18, not of resnet34"):
        timm.create_model("rb_resnet34", weights=file)
    bgr, network = tmp_path / "bgr.safetensors", create_model("resnet18")
    spec = InputSpec(mean=(104.0, 117.0, 124.0), std=(1.0,) * 3, order="BGR", range=255.0)
    save_weights(bgr, network.state_dict(), WeightsHeader("resnet18", network.options, spec))
    with pytest.raises(OptionError, match="this host feeds RGB, the network was trained on BGR"):
        timm.create_model("rb_resnet18", weights=bgr)


def test_another_number_of_classes_starts_a_new_classifier(saved, caplog):
    ours, file = saved
    with caplog.at_level(logging.WARNING):
        theirs = timm.create_model("rb_resnet18", weights=file, shortcut="C", num_classes=9)
    assert "is for 5 classes; the classifier for 9 starts anew" in caplog.text
    assert theirs.fc.weight.shape == (9, 512)
    assert torch.equal(theirs.layer4[1].conv2.weight, ours.layer4[1].conv2.weight)


def test_timms_own_loading_is_strict(saved):
    ours, file = saved
    theirs = timm.create_model("rb_resnet18", checkpoint_path=file, num_classes=5, shortcut="C")
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    with pytest.raises(RuntimeError, match="Unexpected key"):
        timm.create_model("rb_resnet18", checkpoint_path=file, num_classes=5)
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        timm.create_model("rb_resnet18", pretrained=True)


def test_parameter_groups_by_depth():
    groups = timm.models.group_parameters(
        network := timm.create_model("rb_resnet18"), network.group_matcher(coarse=True)
    )
    assert "conv1.weight" in groups[0] and "layer1.0.conv1.weight" in groups[1] and "fc.bias" in groups[5]
    assert adapter.PREFIX == "rb_"
