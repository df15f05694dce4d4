"""Networks for semantic segmentation from configurations and from files of trainings."""

from pathlib import Path

import pytest
import torch

from backbones import InputSpec, save_weights
from backbones.norm import norm_eps, set_norm_eps
from foundation.errors import UserError
from segmentation.build import build_segmenter, load_trained, segmenter_facts, trained_header
from segmentation.config import SegmentationConfig
from segmentation.model.segmenter_weights import segmenter_header
from training.config import load_config

SMALL = ["model.name=fcn_resnet18", "model.aux=false", "data.kind=shapes"]
CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)


def config(*more: str) -> SegmentationConfig:
    return load_config(SegmentationConfig, None, [*SMALL, *more])


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Of background, cat and dog."""
    torch.manual_seed(0)
    network = build_segmenter(config(), ["background", "cat", "dog"])
    network.backbone.input_spec = CAFFE
    set_norm_eps(network, 1e-3)
    header = trained_header(network, config(), ["background", "cat", "dog"], {"mIoU": 0.5})
    save_weights(tmp_path / "w.safetensors", network.state_dict(), header)
    return tmp_path / "w.safetensors"


def test_a_file_gives_back_network_and_configuration(trained: Path):
    network, settings, classes = load_trained(trained, ["testing.flip=true", "model.output_stride=16"])
    assert classes == ["background", "cat", "dog"] and settings.testing.flip
    assert network.input_spec == CAFFE and norm_eps(network) == 1e-3 and not network.training
    assert network.backbone(torch.zeros(1, 3, 64, 64))["res5"].shape[2:] == (4, 4)


def test_a_file_without_a_training(trained: Path, tmp_path: Path):
    network, _, classes = load_trained(trained, ["model.output_stride=null"])
    save_weights(
        tmp_path / "bare.safetensors", network.state_dict(), segmenter_header(network, classes=classes)
    )
    with pytest.raises(
        UserError, match=r"bare\.safetensors has no configuration of a training; load it with"
    ):
        load_trained(tmp_path / "bare.safetensors")


def test_another_start_keeps_all_but_the_predictors(trained: Path):
    torch.manual_seed(1)
    network = build_segmenter(config(f"model.weights={trained}"), ["background", "cow"])
    before, _, _ = load_trained(trained)
    own, theirs = network.state_dict(), before.state_dict()
    other = (
        [name for name in own if not torch.equal(own[name], theirs[name])]
        if own.keys() == theirs.keys()
        else []
    )
    assert other == ["classifier.4.weight", "classifier.4.bias"]
    assert network.input_spec == CAFFE and norm_eps(network) == 1e-3
    same = build_segmenter(config(f"model.weights={trained}"), ["background", "cat", "dog"]).state_dict()
    assert all(torch.equal(same[name], theirs[name]) for name in theirs)


def test_nothing_is_frozen_without_weights():
    for override in ("model.norm=frozen", "model.frozen_stages=2"):
        with pytest.raises(UserError, match=r"model\.backbone_weights is not set, so there is nothing worth"):
            build_segmenter(config(override), ["a", "b"])


def test_a_checkpoints_facts_replace_the_weights(trained: Path):
    network, _, _ = load_trained(trained)
    again = build_segmenter(
        config("model.weights=gone.safetensors"), ["a", "b", "c"], segmenter_facts(network)
    )
    assert again.input_spec == CAFFE and norm_eps(again) == 1e-3
