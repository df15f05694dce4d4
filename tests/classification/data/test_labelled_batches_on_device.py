"""Batches gathered where the pictures lie are those of the loader, and train to the same bits."""

import json
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from classification import pretrain
from classification.config import ModelConfig, PretrainConfig
from classification.data.cifar10 import Cifar10
from classification.data.data_sets import DataConfig
from classification.data.labelled_batches import PicturesOnDevice, training_batches, training_items
from training.config import RunConfig
from training.optim import OptimConfig
from training.schedule import ScheduleConfig

OPTIM = OptimConfig(batch_size=16, reference_batch=16, accumulate=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures(cifar_root: Path) -> Cifar10:
    """The first 100 of the training pictures, with pixels that differ."""
    pictures = Cifar10(cifar_root, "train", train_split="train", training=True)
    generator = torch.Generator().manual_seed(0)
    pictures.images = torch.randint(256, (100, 3, 32, 32), dtype=torch.uint8, generator=generator)
    pictures.labels = pictures.labels[:100]
    return pictures


def test_the_same_batches_as_the_loader(pictures: Cifar10):
    resident = PicturesOnDevice(pictures.images, pictures.labels, pictures.split)
    draws = resident.drawn(training_items(100, OPTIM, RunConfig(), 11))
    loader = training_batches(pictures, OPTIM, RunConfig(), 11)
    for draw, expected in islice(zip(draws, loader, strict=True), 20):
        batch = draw.to(CPU)
        assert draw.ids == expected.ids
        assert torch.equal(batch.labels, expected.labels) and torch.equal(batch.seeds, expected.seeds)
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(pictures.prepare(batch), pictures.prepare(expected))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_equal_losses_and_weights_as_with_the_loader(
    accumulate: int, pictures: Cifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pretrain, "open_split", lambda config, training: pictures)
    config = PretrainConfig(
        ModelConfig("resnet8_cifar"),
        DataConfig("cifar10"),
        ScheduleConfig(total_steps=8),
        optim=OptimConfig(batch_size=16, reference_batch=16, accumulate=accumulate),
        run=RunConfig(device="cpu", workers=0, log_every=1),
    )
    pretrain.pretrain(config, tmp_path / "resident")

    def through_the_loader(config: PretrainConfig, training: Cifar10, device: torch.device):
        return lambda step: training_batches(training, config.optim, config.run, step)

    monkeypatch.setattr(pretrain, "batch_source", through_the_loader)
    pretrain.pretrain(config, tmp_path / "loader")
    lines = (tmp_path / "loader" / "metrics.jsonl").read_text()
    assert (tmp_path / "resident" / "metrics.jsonl").read_text() == lines
    losses = [json.loads(line)["loss"] for line in lines.splitlines() if '"loss"' in line]
    assert len(losses) == 8 and losses[0] != losses[7]
    weights = [(tmp_path / kind / "last.safetensors").read_bytes() for kind in ("resident", "loader")]
    assert weights[0] == weights[1]


def test_pictures_of_folders_come_from_the_loader(monkeypatch: pytest.MonkeyPatch):
    folder = SimpleNamespace()
    monkeypatch.setattr(pretrain, "training_batches", lambda pictures, optim, run, step: (pictures, step))
    source = pretrain.batch_source(SimpleNamespace(optim=OPTIM, run=RunConfig()), folder, CPU)
    assert source(3) == (folder, 3)
