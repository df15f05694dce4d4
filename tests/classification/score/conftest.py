"""Weight files of a small classifier, and what they should score."""

from dataclasses import asdict

import pytest
import torch

from backbones import (
    IMAGENET_INPUT,
    WeightsHeader,
    create_model,
    save_weights,
)
from backbones.norm import inference_copy
from classification.config import PretrainConfig
from classification.data.labelled_batches import evaluation_batches
from classification.data.opened_splits import open_split
from classification.score.classifier_errors import evaluate
from training.config import load_config

CPU = torch.device("cpu")


def write_weights(path, overrides, names, spec=IMAGENET_INPUT, **header):
    """Random weights of a small network, with the header of a pretraining run."""
    torch.manual_seed(0)
    model = create_model("resnet8_cifar", num_classes=len(names))
    options = ["model.name=resnet8_cifar", "schedule.total_steps=1", "run.device=cpu", "run.workers=0"]
    config = load_config(PretrainConfig, None, [*options, *overrides])
    known = {
        "model": model.name,
        "options": model.options,
        "input_spec": spec,
        "config": asdict(config),
        "classes": names,
    }
    save_weights(path, model.state_dict(), WeightsHeader(**(known | header)))
    return model.eval()


@pytest.fixture
def data(folder_root):
    return ["data.kind=folder", f"data.root={folder_root}", "data.image_size=16", "data.resize=20"]


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "run" / "last.safetensors"


@pytest.fixture
def model(weights, data):
    weights.parent.mkdir()
    return write_weights(weights, data, ["ape", "bee", "cow"])


def expected(model, overrides, spec=IMAGENET_INPUT):
    needed = ["model.name=x", "schedule.total_steps=1"]
    pictures = open_split(load_config(PretrainConfig, None, [*needed, *overrides]).data, training=False)
    return evaluate(
        inference_copy(model),
        evaluation_batches(pictures, 100, 0),
        prepare=lambda batch: spec.normalise(batch.images),
        classes=pictures.classes,
        device=CPU,
    )


def same(result, evaluated):
    """Whether a result says all that an evaluation says."""
    return result | evaluated == result
