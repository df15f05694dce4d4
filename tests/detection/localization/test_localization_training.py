"""What a training of localization refuses before it starts; tests/pipeline trains whole networks."""

from pathlib import Path

import pytest

from detection.localization import localization_training as training
from detection.localization.localization_config import LocalizationConfig
from detection.localization.localization_training import train_localizer
from detection.localization.one_class_pictures import OneClassPictures
from foundation.errors import UserError
from training.config import load_config

SCRATCH = ["backbone.name=resnet8_cifar", "feature=res4", "backbone.norm=batch", "backbone.frozen_stages=0"]
TINY = [*SCRATCH, "data.kind=shapes", "data.image_size=32", "schedule.total_steps=1", "run.workers=0"]
DOG = [(2, (10.0, 10.0, 60.0, 90.0))]


def config(*more: str) -> LocalizationConfig:
    return load_config(LocalizationConfig, None, [*TINY, "run.device=cpu", *more])


def test_the_splits_have_the_same_classes(few, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    sets = {"train": few([DOG]), "val": few([DOG], classes=("cat", "cow"))}
    monkeypatch.setattr(
        training, "open_pictures", lambda _, split: OneClassPictures(sets[split], split, "one_class")
    )
    with pytest.raises(UserError, match="has 2 classes and data.val 2, or their names differ"):
        train_localizer(config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_broken_validation_pictures_are_found_before_the_first_step(
    few, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    dataset = few([DOG])
    dataset.image_path(0).write_bytes(b"no picture")
    pictures = OneClassPictures(dataset, "val", "one_class")
    monkeypatch.setattr(training, "open_pictures", lambda *_: pictures)
    with pytest.raises(UserError, match="1 of 1 validation pictures cannot be read"):
        train_localizer(config(), tmp_path / "run")


def test_a_training_gives_the_same_result_twice(few, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pictures = OneClassPictures(few([DOG, DOG]), "val", "single_object")
    monkeypatch.setattr(training, "open_pictures", lambda *_: pictures)
    small = config("optim.batch_size=2", "testing.scales=[32]", "run.pictures=false", "rpn.channels=8")
    results = [train_localizer(small, tmp_path / name) for name in ("first", "second")]
    assert results[0]["scores"] == results[1]["scores"]
    files = [(tmp_path / name / "last.safetensors").read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]
