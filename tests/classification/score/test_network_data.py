"""On which pictures a network is measured: those of its training, or others that are named."""

import pytest
import torch
from safetensors.torch import save_file

from backbones import IMAGENET_INPUT, WeightsHeader
from classification.config import MeasuringConfig, PretrainConfig
from classification.score.network_data import data_section, measuring_config, read_classifier_header
from foundation.errors import UserError
from tests.classification.score.conftest import write_weights


def header(model="resnet50", **known):
    return WeightsHeader(model, {"num_classes": 10}, IMAGENET_INPUT, **known)


TRAINED = header(config={"data": {"kind": "folder", "root": "here"}, "model": {}}, classes=list("abcdefghij"))
PUBLISHED = header(config={"data": {"kind": "folder", "image_size": 224, "resize": 232}})
CONVERTED = header()
CIFAR = header("resnet20_cifar")


@pytest.mark.parametrize(
    ("known", "overrides", "section"),
    [
        (TRAINED, [], {"kind": "folder", "root": "here"}),
        (TRAINED, ["data.root=there"], {"kind": "folder", "root": "here"}),
        (TRAINED, ["data.kind=shapes"], {"kind": "shapes"}),
        (PUBLISHED, [], {"kind": "folder", "image_size": 224, "resize": 232}),
        (PUBLISHED, ["data.kind=shards"], {"kind": "shards", "image_size": 224, "resize": 232}),
        (PUBLISHED, ["data.kind=cifar10"], {"kind": "cifar10", "val_split": "test"}),
        (CONVERTED, ["data.root=x"], {"kind": "folder"}),
        (CONVERTED, ["data.kind=shards"], {"kind": "shards"}),
        (CIFAR, ["data.root=x"], {"kind": "folder", "image_size": 32, "resize": 32}),
        (CIFAR, ["data.kind=cifar10"], {"kind": "cifar10", "val_split": "test"}),
    ],
)
def test_the_data_of_a_network(known, overrides, section):
    assert data_section([known], overrides) == section


def test_the_first_network_that_knows_its_data_decides():
    assert data_section([CIFAR, PUBLISHED, TRAINED], []) == PUBLISHED.config["data"]
    with pytest.raises(
        UserError, match="the weights do not say what pictures they were trained on; name some"
    ):
        data_section([CONVERTED, CIFAR], ["data.resize=256"])


def test_what_is_assumed_is_logged(caplog):
    with caplog.at_level("INFO"):
        data_section([PUBLISHED], ["data.kind=folder"])
        data_section([CIFAR], ["data.kind=cifar10"])
        assert caplog.text == ""
        data_section([CONVERTED], ["data.kind=folder"])
    assert "centre crops of 224 pixels from pictures with a short side of 256" in caplog.text


def test_the_configuration_of_a_training_is_taken_whole(tmp_path, data):
    write_weights(tmp_path / "w.safetensors", data, ["ape", "bee", "cow"])
    known = read_classifier_header(tmp_path / "w.safetensors")
    config = measuring_config("w.safetensors", known, ["optim.lr=3"])
    assert isinstance(config, PretrainConfig) and (config.optim.lr, config.data.image_size) == (3, 16)


def test_other_networks_know_data_and_run_alone():
    config = measuring_config("w", PUBLISHED, ["data.root=there", "run.workers=3"])
    assert isinstance(config, MeasuringConfig) and (config.data.resize, config.run.workers) == (232, 3)
    with pytest.raises(UserError, match="w:\n  optim: unknown key"):
        measuring_config("w", PUBLISHED, ["optim.lr=3"])


@pytest.mark.parametrize(
    ("model", "config", "message"),
    [
        (
            "FasterRCNN",
            {"backbone": {}, "data": {}},
            "those of a FasterRCNN; score it with tools/eval_det.py",
        ),
        ("timm/convnext_tiny", {}, "a backbone, timm/convnext_tiny, whose classifier is timm's; use timm"),
        ("resnet51x", {}, "those of a resnet51x, which is no network of ours"),
    ],
)
def test_other_weights_are_refused(tmp_path, data, model, config, message):
    write_weights(tmp_path / "w.safetensors", data, ["a"], model=model, config=config)
    with pytest.raises(
        UserError, match=rf"w.safetensors: expected a classifier's weights .*, found {message}"
    ):
        read_classifier_header(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_without_header_is_refused(tmp_path, name):
    save = save_file if name.endswith("safetensors") else torch.save
    save({"fc.weight": torch.zeros(2, 2)}, tmp_path / name)
    with pytest.raises(
        UserError, match=rf"{name}: expected .*, found no header .*convert_weights.py .*{name} OUT"
    ):
        read_classifier_header(tmp_path / name)
