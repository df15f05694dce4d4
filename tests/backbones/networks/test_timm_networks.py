"""timm's networks as our backbones: the same features, cut in two, frozen, and strictly loaded."""

import logging
import sys

import pytest
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones import (
    FeatureSpec,
    InputSpec,
    OptionError,
    WeightsError,
    WeightsHeader,
    create_backbone,
    create_model,
    create_trunk_and_head,
    save_weights,
)
from backbones.networks.timm_networks import FrozenBatchNormAct2d
from backbones.norm import calibrate_batchnorm, fold_batchnorm, norm_eps

IMAGES = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
LEVELS = ("res2", "res3", "res4", "res5")
# Normalisation apart from activation, with it, none at all; then timm's two other kinds of extractor.
NETWORKS = ["resnet10t", "regnetx_002", "convnext_atto", "efficientnet_lite0", "mobilenetv3_small_050"]


@pytest.fixture(params=NETWORKS)
def network(request, tmp_path):
    """A name, timm's own features in eval mode by stride, and a file of these weights with a classifier."""
    torch.manual_seed(0)
    full = timm.create_model(request.param)
    for module in full.modules():
        if isinstance(module, _BatchNorm):  # with initial statistics, wrong use would go unseen
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean, std=0.1)
    torch.save(full.state_dict(), tmp_path / "full.pth")
    info = timm.create_model(request.param, features_only=True).feature_info
    with torch.no_grad():
        maps = by_hooks(full.eval(), dict(zip(info.reduction(), info.module_name(), strict=True)))
    return request.param, maps, tmp_path / "full.pth"


def by_hooks(network: nn.Module, modules: dict[int, str]) -> dict[int, torch.Tensor]:
    """What a whole network computes on the way to its logits."""
    maps = {}
    for stride, name in modules.items():
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, stride=stride: maps.update({stride: output.clone()})
        )
    network(IMAGES)
    return maps


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_features_are_timms(network, norm):
    name, expected, weights = network
    ours = create_backbone(f"timm/{name}", out_features=LEVELS, weights=weights, norm=norm).eval()
    with torch.no_grad():
        found = ours(IMAGES)
    assert list(found) == list(ours.feature_specs) == list(LEVELS)
    for level, features in found.items():
        spec = ours.feature_specs[level]
        torch.testing.assert_close(features, expected[spec.stride], rtol=1e-5, atol=1e-5)
        assert features.shape == (2, spec.channels, 64 // spec.stride, 96 // spec.stride)
    assert norm == "batch" or not any(isinstance(module, _BatchNorm) for module in ours.modules())


def test_trunk_and_head_are_the_network(network):
    name, expected, weights = network
    trunk, head = create_trunk_and_head(f"timm/{name}", weights=weights, norm="frozen")
    assert list(trunk.feature_specs) == ["res4"] and list(head.feature_specs) == ["res5"]
    assert head.in_channels == trunk.out_channels and head.feature_specs["res5"].stride == 2
    with torch.no_grad():
        torch.testing.assert_close(
            head.eval()(trunk.eval()(IMAGES)["res4"]), expected[32], rtol=1e-5, atol=1e-5
        )


def test_the_number_of_frozen_stages_means_the_same_for_every_network(network):
    name, _, _ = network
    ours = create_backbone(f"timm/{name}", out_features=("res3",), frozen_stages=2).train()
    res2 = create_backbone(f"timm/{name}", out_features=("res2",))
    fixed = {name for name, parameter in ours.named_parameters() if not parameter.requires_grad}
    norms = {  # whose weights are no parameters any more
        name for name, module in res2.named_modules() if isinstance(module, _BatchNorm)
    }
    assert fixed == {key for key, _ in res2.named_parameters() if key.rpartition(".")[0] not in norms}
    before = ours(IMAGES)["res3"].detach()
    ours(IMAGES)["res3"].sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters() if parameter.requires_grad)
    assert before.isfinite().all()


def test_frozen_normalisation_keeps_its_activation():
    torch.manual_seed(0)
    free = create_backbone("timm/regnetx_002", out_features=("stem",))
    frozen = create_backbone("timm/regnetx_002", out_features=("stem",), norm="frozen")
    frozen.load_state_dict(free.state_dict())
    norm = frozen.body.stem.bn
    assert type(norm) is FrozenBatchNormAct2d and not list(norm.parameters())
    with torch.no_grad():
        features = frozen(IMAGES)["stem"]
        assert features.min() == 0  # without the ReLU half of them would be negative
        assert torch.equal(features, free.eval()(IMAGES)["stem"])
    calibrate_batchnorm(frozen, [IMAGES])
    assert norm.running_mean.abs().sum() > 0
    folded = fold_batchnorm(frozen.eval())  # leaves alone what does more than normalise
    with torch.no_grad():
        assert torch.equal(folded(IMAGES)["stem"], frozen(IMAGES)["stem"])


def test_specifications_and_input_come_from_timm():
    trunk, head = create_trunk_and_head("timm/resnetv2_18.ra4_e3600_r224_in1k", split="res3")
    assert trunk.feature_specs == {"res3": FeatureSpec(128, 8)}
    assert head.feature_specs == {"res5": FeatureSpec(512, 4)}
    assert trunk.input_spec == InputSpec(mean=(0.5,) * 3, std=(0.5,) * 3)
    assert trunk.name == "timm/resnetv2_18.ra4_e3600_r224_in1k" and trunk.options == {}
    assert norm_eps(trunk) == 1e-5


def test_wrong_files_are_refused(tmp_path, caplog):
    state = timm.create_model("regnetx_002").state_dict()
    torch.save({name: value for name, value in state.items() if "s4" not in name}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"part\.pth → timm/regnetx_002: (.|\n)*missing in the file"):
        create_backbone("timm/regnetx_002", weights=tmp_path / "part.pth")
    with pytest.raises(WeightsError, match="no weights at"):
        create_backbone("timm/regnetx_002", weights=tmp_path / "none.pth")
    spec = InputSpec(mean=(0.1,) * 3, std=(0.2,) * 3)
    save_weights(
        tmp_path / "own.safetensors", state, WeightsHeader("timm/regnetx_002", {}, spec, norm_eps=0.1)
    )
    ours = create_backbone("timm/regnetx_002", weights=tmp_path / "own.safetensors")
    assert ours.input_spec == spec and norm_eps(ours) == 0.1
    with pytest.raises(WeightsError, match=r"is of timm/regnetx_002, not of timm/regnetx_004"):
        create_backbone("timm/regnetx_004", weights=tmp_path / "own.safetensors")
    torch.save(state | {"head.fc.weight": torch.zeros(3, 368)}, tmp_path / "classes.pth")
    with caplog.at_level(logging.WARNING):  # the classifier is not used, so its size does not matter
        create_backbone("timm/regnetx_002", weights=tmp_path / "classes.pth")
    assert "classes.pth has no header. Assumed: pictures as InputSpec(mean=(0.485" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/regnetx_003", "unknown network of timm 'regnetx_003'; did you mean 'regnetx_"),
        ("timm/resnet18.nope", "unknown network of timm 'resnet18.nope'; did you mean 'resnet18"),
        ("timm/swin_tiny_patch4_window7_224", "timm's swin_tiny_patch4_window7_224 is no sequence of convol"),
        ("timm/hrnet_w18_small", "timm's hrnet_w18_small is no sequence of convolutional stages"),
        ("timm/selecsls42", "timm's selecsls42 is no sequence of convolutional stages"),
        ("timm/mambaout_femto", "timm's mambaout_femto is no sequence of convolutional stages"),
    ],
)
def test_networks_that_cannot_be_cut_are_refused(name, message):
    with pytest.raises(OptionError, match=f"^{message}"):
        create_backbone(name)


def test_features_options_and_splits_that_do_not_exist_are_refused():
    with pytest.raises(OptionError, match="unknown feature 'stem'; choose from res2, res3, res4, res5"):
        create_backbone("timm/convnext_atto", out_features=("stem",))
    with pytest.raises(OptionError, match="out_features must be a list"):
        create_backbone("timm/regnetx_002", out_features="res4")
    with pytest.raises(OptionError, match="split must be one of stem, res2, res3, res4, got 'res5'"):
        create_trunk_and_head("timm/regnetx_002", split="res5")
    with pytest.raises(OptionError, match="timm/resnet50 is built by timm; leave out stride_on='1x1'"):
        create_backbone("timm/resnet50", stride_on="1x1")
    with pytest.raises(OptionError, match=r"frozen_stages must be 0 … 4 \(stem, res2, res3, res4\), got 5"):
        create_backbone("timm/regnetx_002", frozen_stages=5)


def test_without_timm_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "backbones.networks.timm_networks")
    monkeypatch.delattr("backbones.networks.timm_networks")
    with pytest.raises(
        OptionError, match=r"timm/resnet18 needs timm .*pip install 'residual-backbones\[timm\]'"
    ):
        create_backbone("timm/resnet18")


def test_files_of_our_network_of_the_same_name_serve_unless_it_differs(tmp_path):
    ours = create_model("resnet18")
    header = WeightsHeader(
        "resnet18", ours.options, InputSpec(mean=(0.1,) * 3, std=(0.2,) * 3), norm_eps=1e-5
    )
    save_weights(tmp_path / "r18.safetensors", ours.state_dict(), header)
    theirs = create_backbone("timm/resnet18", weights=tmp_path / "r18.safetensors")
    assert theirs.input_spec == header.input_spec
    assert torch.equal(theirs.body.conv1.weight, ours.conv1.weight)
    caffe = create_model("resnet50", stride_on="1x1")
    header = WeightsHeader("resnet50", caffe.options, header.input_spec, norm_eps=1e-5)
    save_weights(tmp_path / "r50.safetensors", caffe.state_dict(), header)
    with pytest.raises(
        WeightsError, match="with stride_on='1x1', which timm/resnet50 does not have; take our"
    ):
        create_backbone("timm/resnet50", weights=tmp_path / "r50.safetensors")
