"""torchvision's and timm's networks give our outputs, and ours give theirs."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from backbones import (
    WeightsError,
    create_model,
    read_weights,
    save_weights,
)
from backbones.convert import convert
from backbones.convert import timm_format as timm_names


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_their_network_gives_our_outputs(tmp_path, kind, name, ours, logits, relative_difference):
    path, network = ours(tmp_path, name)
    convert(path, tmp_path / "theirs.pth", target_format=kind)
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)() if kind == "torchvision" else timm.create_model(name)
    state = torch.load(tmp_path / "theirs.pth", weights_only=True)
    theirs.load_state_dict(state, strict=True, assign=True)
    assert relative_difference(logits(theirs.eval()), logits(network)) < 1e-5


def test_our_network_gives_torchvisions_outputs(tmp_path, randomise_norms, logits, relative_difference):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=5).eval()
    randomise_norms(theirs)
    torch.save(
        {"epoch": 3, "state_dict": nn.DataParallel(theirs).state_dict()}, tmp_path / "checkpoint.pth.tar"
    )
    conversion = convert(
        tmp_path / "checkpoint.pth.tar", tmp_path / "r18.safetensors", source_format="torchvision"
    )
    assert conversion.coverage.percent == 100.0 and conversion.header.options["num_classes"] == 5
    network = create_model("resnet18", num_classes=5, weights=tmp_path / "r18.safetensors").eval()
    assert relative_difference(logits(network), logits(theirs)) < 1e-5


def test_preactivation_networks_of_timm(tmp_path, ours, logits, relative_difference):
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
