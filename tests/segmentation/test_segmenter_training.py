"""What a training of segmentation refuses before its first step; tests/pipeline trains whole networks."""

from pathlib import Path

import pytest
import torch

from foundation.errors import UserError
from segmentation.config import SegmentationConfig
from segmentation.model.segmenters_by_name import create_model
from segmentation.segmenter_training import network_input, train_segmenter
from segmentation.types import Batch
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


def test_padding_has_the_mean_colour():
    network = create_model("fcn_resnet8_cifar", num_classes=2, output_stride=4)
    images = torch.full((2, 3, 6, 8), 200, dtype=torch.uint8)
    labels = torch.zeros(2, 6, 8, dtype=torch.uint8)
    sizes = torch.tensor([[6, 8], [4, 5]])
    found = network_input(
        network, Batch(images, labels, sizes, torch.zeros(2, dtype=torch.int64), ["a", "b"])
    )
    expected = network.input_spec.normalise(images)
    assert found.shape == (2, 3, 8, 8)  # whole cells of 4 pixels
    assert torch.equal(found[0, :, :6], expected[0]) and not found[0, :, 6:].any()
    assert torch.equal(found[1, :, :4, :5], expected[1, :, :4, :5])
    assert not found[1, :, 4:].any() and not found[1, :, :, 5:].any()
