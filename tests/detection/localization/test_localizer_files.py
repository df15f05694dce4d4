"""Networks for localization from configurations and from files."""

from pathlib import Path

import pytest
import torch

from backbones import InputSpec, WeightsError, save_weights
from backbones.norm import norm_eps
from detection.build import adopt, network_facts
from detection.localization.localization_config import LocalizationConfig
from detection.localization.localizer import RegionLocalizer, RpnLocalizer
from detection.localization.localizer_files import (
    assemble_localizer,
    build_localizer,
    load_localizer,
    localizer_header,
)
from foundation.errors import UserError
from training.config import load_config

SCRATCH = ["backbone.name=resnet18", "backbone.norm=batch", "backbone.frozen_stages=0", "rpn.channels=8"]
CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)
CLASSES = ["cat", "dog"]


def config(*more: str) -> LocalizationConfig:
    return load_config(LocalizationConfig, None, [*SCRATCH, "data.kind=shapes", *more])


def written(path: Path, options: LocalizationConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    model = adopt(build_localizer(options, 2), CAFFE, 1e-3)
    header = localizer_header(model, options, CLASSES, {"oracle_error": 0.5}, category_ids=[7, 3])
    save_weights(path, model.state_dict(), header)
    return model


def test_anchors_follow_the_configuration():
    model = build_localizer(config("data.image_size=64", "feature=res4"), 2)
    assert isinstance(model, RpnLocalizer)
    assert (model.rpn.anchor_sizes, model.rpn.spec.stride) == ((16, 32, 48, 64), 16)


def test_a_file_gives_back_the_network(tmp_path: Path):
    options = config("data.image_size=64")
    model = written(tmp_path / "rpn.safetensors", options)
    loaded = load_localizer(tmp_path / "rpn.safetensors", ["testing.protocol=one_crop"])
    assert loaded.classes == CLASSES and loaded.config.testing.protocol == "one_crop"
    assert loaded.model.trunk.input_spec == CAFFE and norm_eps(loaded.model) == 1e-3
    assert not loaded.model.training
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    expected = model.eval().search(pixels, torch.tensor([[1, 2]]))
    for ours, theirs in zip(loaded.model.search(pixels, torch.tensor([[1, 2]])), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_a_file_of_rcnn(tmp_path: Path):
    written(tmp_path / "rcnn.safetensors", config("step=rcnn", "regions.proposals=rpn.safetensors"))
    assert isinstance(load_localizer(tmp_path / "rcnn.safetensors").model, RegionLocalizer)


def test_another_architecture_is_refused(tmp_path: Path):
    written(tmp_path / "rpn.safetensors", config())
    with pytest.raises(WeightsError, match="leave step, feature, backbone, rpn and data.image_size as they"):
        load_localizer(tmp_path / "rpn.safetensors", ["rpn.channels=16"])


def test_a_file_of_something_else(classifier_weights: Path):
    with pytest.raises(
        UserError, match="expected the weights of a network for localization .* found those of"
    ):
        load_localizer(classifier_weights)


def test_nothing_is_frozen_without_weights():
    with pytest.raises(UserError, match=r"backbone\.weights is not set, so there is nothing worth freezing"):
        build_localizer(
            load_config(LocalizationConfig, None, ["backbone.name=resnet18", "data.kind=shapes"]), 2
        )


def test_a_checkpoints_facts_replace_the_weights():
    options = config("backbone.weights=gone.safetensors")
    model = adopt(assemble_localizer(options, 2, weights=None), CAFFE, 1e-3)
    again = build_localizer(options, 2, network_facts(model))
    assert again.trunk.input_spec == CAFFE and norm_eps(again) == 1e-3
