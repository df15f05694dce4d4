"""Detectors that were scored already, on a set of two pictures: what they found is written by hand."""

import json
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from PIL import Image

from detection.config import DetectionConfig
from reproduction.detectors.detector_groups import Scored
from training.config import dump_config, load_config

ScoredOf = Callable[..., Scored]


@pytest.fixture
def two_pictures(tmp_path: Path) -> Path:
    """A COCO set, split val: two pictures with one object each, of the same class."""
    root = tmp_path / "two_pictures"
    (root / "annotations").mkdir(parents=True)
    (root / "val").mkdir()
    images = [{"id": n, "file_name": f"{n}.png", "width": 100, "height": 80} for n in (1, 2)]
    objects = [
        {"id": n, "image_id": n, "category_id": 7, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0}
        for n in (1, 2)
    ]
    content = {"images": images, "annotations": objects, "categories": [{"id": 7, "name": "cat"}]}
    (root / "annotations" / "instances_val.json").write_text(json.dumps(content))
    for image in images:
        Image.new("RGB", (100, 80)).save(root / "val" / str(image["file_name"]))
    return root


@pytest.fixture
def scored(two_pictures: Path, tmp_path: Path) -> ScoredOf:
    """A detector that found the objects of these pictures alone, by metric voc12 or another."""

    def write(name: str, found: Collection[int], metric: str = "voc12", **scores: float) -> Scored:
        options = ["data.kind=coco", f"data.root={two_pictures}", "data.train=val", "data.val=val"]
        config = load_config(DetectionConfig, None, [*options, f"metric={metric}"])
        folder = tmp_path / name
        folder.mkdir()
        record = {"category_id": 7, "bbox": [10, 10, 40, 40], "score": 0.9}
        records = [{"image_id": number, **record} for number in found]
        (folder / "predictions.json").write_text(json.dumps(records))
        return Scored(folder, config, scores)

    return write


@pytest.fixture
def tiny_config(two_pictures: Path, tmp_path: Path) -> Path:
    """A configuration that trains a detector on the two pictures for two steps, from scratch."""
    options = [
        *("backbone.name=resnet18", "backbone.norm=batch", "backbone.frozen_stages=0", "data.kind=coco"),
        *(f"data.root={two_pictures}", "data.train=val", "data.val=val", "metric=voc12"),
        *("data.short_side=64", "data.max_side=96", "rpn.anchor_sizes=[16, 32]", "rpn.channels=16"),
        *("rpn.pre_nms_train=50", "rpn.post_nms_train=20", "rpn.pre_nms_test=20", "rpn.post_nms_test=8"),
        *("roi.size=2", "roi.regions_per_image=4", "optim.batch_size=2", "optim.reference_batch=2"),
        *("schedule.total_steps=2", "schedule.milestones=[]", "schedule.warmup_steps=0", "run.workers=0"),
        *("run.eval_every=2", "run.checkpoint_every=1", "run.log_every=1", "run.pictures=false"),
        "run.device=cpu",
    ]
    file = tmp_path / "tiny.yaml"
    file.write_text(dump_config(load_config(DetectionConfig, None, options)))
    return file
