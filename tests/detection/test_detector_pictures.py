"""The pictures of a detector's training: on real batches of Shapes, and in a whole run."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detection import detector_pictures
from detection.config import DetectionConfig
from detection.data.annotations import DetectionDataset
from detection.data.dataset_splits import DataConfig
from detection.data.detection_batches import PreparedPictures
from detection.data.shapes_scenes import ShapesFolders
from detection.detector_pictures import DetectorPictures, counted_objects, draw_batch
from detection.train import finetune
from detection.types import Prediction
from training.config import load_config
from training.loader import Item

OpenBoth = Callable[..., list[DetectionDataset]]
NOTHING = Prediction(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0))


@pytest.fixture
def both(opened: OpenBoth, shapes: ShapesFolders) -> list[DetectionDataset]:
    return opened("coco", shapes.coco, masks=True, train="train", val="val")


@pytest.mark.parametrize("masks", [True, False])
def test_a_batch_shows_its_padded_pictures_with_objects(both: list[DetectionDataset], masks: bool):
    options = DataConfig(short_side=96, max_side=128)
    samples = PreparedPictures(both[0], options, masks=masks)
    batch = samples.read([Item(index, 5) for index in (0, 1)])
    names = ["Größe", "кошка", "قطة", "猫", "_a$b$", "f", "g", "h", "i", "\x1b[1m"]
    drawn = np.asarray(draw_batch(batch, names))
    _, _, height, width = batch.images.shape
    scale = int(400 / max(height, width))
    assert drawn.shape[1] >= 2 * scale * width
    plain = np.asarray(draw_batch(replace(batch, valid=torch.zeros_like(batch.valid)), names))
    changed = (drawn != plain).any(axis=2).mean()
    assert 0.01 < changed < (0.6 if masks else 0.3)


def test_of_a_large_batch_the_first_pictures_are_shown(both: list[DetectionDataset]):
    samples = PreparedPictures(both[0], DataConfig(short_side=32, max_side=32))
    grids = [
        draw_batch(samples.read([Item(n, 0) for n in range(size)]), both[0].classes) for size in (16, 20)
    ]
    assert grids[0].size == grids[1].size


def test_validation_pictures_stand_beside_the_truth(both: list[DetectionDataset], tmp_path: Path):
    pictures = DetectorPictures(tmp_path, *both)
    pictures.keep([NOTHING] * len(both[1]))
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0, "lr": 0.1}\n')
    pictures.draw(False)
    files = sorted((tmp_path / "validation").iterdir())
    assert [file.name[:2] for file in files] == [f"{number}_" for number in range(1, 7)]
    for file in files:
        index = both[1].image_ids.index(int(file.stem[2:]))
        height, width = both[1].image_sizes[index]
        assert Image.open(file).size == (2 * width, height)


def test_ids_with_separators_and_controls_are_names_of_files(both: list[DetectionDataset], tmp_path: Path):
    both[1].image_ids = [f"../a/b\n{number}" for number in range(len(both[1]))]
    both[1].load_target = lambda index, load=both[1].load_target: replace(  # type: ignore[method-assign]
        load(index), image_id=both[1].image_ids[index]
    )
    pictures = DetectorPictures(tmp_path / "run", *both)
    pictures.keep([NOTHING] * len(both[1]))
    pictures.draw(True)
    assert len([*(tmp_path / "run" / "validation").iterdir()]) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_ignored_objects_are_not_counted(both: list[DetectionDataset], monkeypatch: pytest.MonkeyPatch):
    boxes, labels, sizes = counted_objects(both[0])
    kept = [~target.ignore for target in both[0].targets]
    assert len(boxes) == len(labels) == len(sizes) == sum(int(of_one.sum()) for of_one in kept)
    monkeypatch.setattr(detector_pictures, "MOST_COUNTED", 100)  # of 200: every second one
    assert len(counted_objects(both[0])[0]) == sum(int(of_one.sum()) for of_one in kept[::2])


@pytest.mark.slow
def test_a_run_draws_its_pictures_and_trains_as_without(
    tiny_options: list[str], coco_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    options = [*tiny_options, f"data.root={coco_root}", "data.train=val", "backbone.norm=batch"]
    options += ["backbone.frozen_stages=0", "optim.batch_size=2", "optim.reference_batch=2"]
    options += ["schedule.total_steps=4", "schedule.warmup_steps=0", "run.eval_every=2", "run.log_every=1"]
    weights = {}
    with caplog.at_level(logging.WARNING):
        for name in ("true", "false"):
            config = load_config(DetectionConfig, None, [*options, f"run.pictures={name}"])
            finetune(config, tmp_path / name)
            weights[name] = (tmp_path / name / "metrics.jsonl").read_text()
    assert weights["true"] == weights["false"]
    drawn = {path.relative_to(tmp_path / "true").as_posix() for path in (tmp_path / "true").rglob("*.*g")}
    assert {"curves.png", "labels.png", "batches/batch_1.jpg", "batches/batch_3.jpg"} <= drawn
    assert len([name for name in drawn if name.startswith("validation/")]) == 3
    assert [*(tmp_path / "false").rglob("*.*g")] == []
    assert [record.getMessage() for record in caplog.records if "no " in record.getMessage()] == []
