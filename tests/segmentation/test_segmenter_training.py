"""What a training of segmentation refuses before its first step; tests/pipeline trains whole networks."""

from pathlib import Path

import pytest

from foundation.errors import UserError
from segmentation.config import SegmentationConfig
from segmentation.segmenter_training import train_segmenter
from training.config import load_config

TINY = ["model.name=fcn_resnet8_cifar", "model.output_stride=4", "model.aux=false", "data.kind=shapes"]


def config(folder: Path, *more: str) -> SegmentationConfig:
    options = [*TINY, f"data.root={folder}", "data.crop=32", "data.short_side=48", "optim.batch_size=2"]
    options += ["schedule.total_steps=1", "run.workers=0", "run.device=cpu", "run.pictures=false"]
    return load_config(SegmentationConfig, None, [*options, *more])


def test_weights_for_other_classes(tmp_path: Path):
    with pytest.raises(
        UserError, match=r"loss\.class_weights has 2 numbers, and the set 11 classes \(background"
    ):
        train_segmenter(config(tmp_path / "data", "loss.class_weights=[1, 2]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_broken_label_map_is_found_before_the_first_step(tmp_path: Path):
    train_segmenter(config(tmp_path / "data"), tmp_path / "first")
    broken = sorted((tmp_path / "data").rglob("SegmentationClass/*.png"))[0]
    broken.write_bytes(b"no picture")
    with pytest.raises(UserError, match=f"{broken.name}.*\n1 of 200 label maps cannot be read"):
        train_segmenter(config(tmp_path / "data"), tmp_path / "second")


def test_a_training_gives_the_same_result_twice(tmp_path: Path):
    for name in ("first", "second"):
        train_segmenter(config(tmp_path / "data"), tmp_path / name)
    files = [(tmp_path / name / "last.safetensors").read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]
