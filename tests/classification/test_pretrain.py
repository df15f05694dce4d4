"""The network of a pretraining run: classes from the data, weights from elsewhere."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from backbones import IMAGENET_INPUT, InputSpec, WeightsHeader, create_model, save_weights
from classification import pretrain
from classification.config import ModelConfig, PretrainConfig
from classification.data.data_sets import DataConfig
from classification.data.opened_splits import open_split
from classification.pretrain import build_classifier
from foundation.errors import UserError
from training.config import RunConfig
from training.progress.remaining_time import seconds_each
from training.schedule import ScheduleConfig

GREY = InputSpec(mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))


def pictures(classes: int, spec: InputSpec = IMAGENET_INPUT) -> SimpleNamespace:
    return SimpleNamespace(classes=[f"class {k}" for k in range(classes)], input_spec=spec)


@pytest.fixture
def weights(tmp_path) -> str:
    """Of a ResNet-8 for 5 classes."""
    network = create_model("resnet8_cifar", num_classes=5)
    save_weights(
        tmp_path / "five.safetensors",
        network.state_dict(),
        WeightsHeader(network.name, network.options, IMAGENET_INPUT),
    )
    return str(tmp_path / "five.safetensors")


def test_classes_and_pictures_come_from_the_data():
    model = build_classifier(ModelConfig("resnet8_cifar"), pictures(3, GREY))
    assert model.fc.out_features == 3 and model.input_spec == GREY


@pytest.mark.parametrize("classes", [5, 3])
def test_weights_of_other_classes_start_all_but_the_classifier(weights: str, classes: int, caplog):
    caplog.set_level("INFO")
    theirs = create_model("resnet8_cifar", num_classes=5, weights=weights).state_dict()
    model = build_classifier(ModelConfig("resnet8_cifar", weights=weights), pictures(classes))
    assert torch.equal(model.state_dict()["layer3.0.conv2.weight"], theirs["layer3.0.conv2.weight"])
    assert model.fc.out_features == model.options["num_classes"] == classes
    assert (model.fc.weight.shape[0] == 5 and torch.equal(model.fc.weight, theirs["fc.weight"])) == (
        classes == 5
    )
    assert ("the classifier starts anew" in caplog.text) == (classes == 3)


def test_weights_for_other_pictures_are_refused(weights: str):
    with pytest.raises(UserError, match="was trained on pictures as InputSpec"):
        build_classifier(ModelConfig("resnet8_cifar", weights=weights), pictures(5, GREY))


def test_dilation_pooling_and_norm_reach_the_network():
    config = ModelConfig("resnet18", dilation=("res5",), norm="sync", stem_pool="ceil")
    model = build_classifier(config, pictures(3))
    assert model.feature_specs["res5"].stride == 16 and model.options["dilation"] == ["res5"]
    assert model.maxpool.ceil_mode and model.maxpool.padding == 0
    assert type(model.bn1) is torch.nn.SyncBatchNorm


def test_how_long_an_evaluation_takes_is_guessed_and_nothing_changed(
    folder_root: Path, monkeypatch: pytest.MonkeyPatch
):
    data = DataConfig(kind="folder", root=str(folder_root), image_size=32, resize=32)
    config = PretrainConfig(
        model=ModelConfig("resnet8_cifar"),
        data=data,
        schedule=ScheduleConfig(total_steps=1),
        run=RunConfig(workers=0, device="cpu"),
    )
    training, validation = (open_split(data, training=flag) for flag in (True, False))
    monkeypatch.setattr(pretrain, "SCORED_AT_ONCE", 2)  # six pictures: three batches, of which two are timed
    model = build_classifier(config.model, training)
    task = pretrain.pretraining_task(config, model, training, validation)
    before, drawn = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    seconds = iter([0.0, 1.0, 21.0, 22.0, 25.0])
    monkeypatch.setattr(pretrain, "seconds_each", partial(seconds_each, clock=lambda: next(seconds)))
    assert task.guess_seconds() == 3 * 4.0 and task.pictures == 12
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn) and model.training
