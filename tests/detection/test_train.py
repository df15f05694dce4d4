"""What the training loop is given; the loop itself and whole runs are tested elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from detection.build import build_detector
from detection.config import DetectionConfig
from detection.data.dataset_splits import open_dataset
from detection.train import detection_task, finetune
from foundation.errors import UserError
from training.config import load_config


@pytest.mark.parametrize("channels_last", [True, False])
def test_pictures_come_in_the_layout_of_the_network(
    tiny_options: list[str], coco_root: Path, tmp_path: Path, channels_last: bool
):
    options = [f"data.root={coco_root}", "backbone.norm=batch", "backbone.frozen_stages=0"]
    options += ["optim.batch_size=2", f"run.channels_last={str(channels_last).lower()}"]
    config = load_config(DetectionConfig, None, [*tiny_options, *options])
    dataset = open_dataset(config.data, "val")
    task = detection_task(config, build_detector(config, 2), dataset, dataset, tmp_path)
    seen: list[torch.Tensor] = []
    network: Any = lambda batch: seen.append(batch.images) or {}  # noqa: E731
    task.losses(network, next(iter(task.batches(0))))
    assert seen[0].is_contiguous(memory_format=torch.channels_last) is channels_last


def test_training_takes_masks_and_sizes_from_the_configuration(
    tiny_options: list[str], coco_root: Path, tmp_path: Path
):
    options = [f"data.root={coco_root}", "backbone.norm=batch", "backbone.frozen_stages=0", "roi.size=14"]
    options += ["optim.batch_size=2", "data.jitter=[1, 1]", "data.crop=48", "detector.mask=true"]
    config = load_config(DetectionConfig, None, [*tiny_options, *options])
    dataset = open_dataset(config.data, "val", masks=True)
    task = detection_task(config, build_detector(config, 2), dataset, dataset, tmp_path)
    batch = next(iter(task.batches(0)))
    assert batch.masks is not None and batch.masks.shape[2:] == (32, 8)
    assert batch.sizes.tolist() == [[32, 48]] * 2  # 4 x 6 just fits into 48 as 32 x 48


def test_the_rule_of_the_order_is_another_only_with_several_micro_batches(
    tiny_options: list[str], coco_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = [f"data.root={coco_root}", "backbone.norm=batch", "backbone.frozen_stages=0"]

    def order(*more: str) -> int:
        config = load_config(DetectionConfig, None, [*tiny_options, *options, *more])
        dataset = open_dataset(config.data, "val")
        return detection_task(config, build_detector(config, 2), dataset, dataset, tmp_path).order

    assert order("optim.batch_size=4") == 1  # one micro-batch a step: that of 0.1.0
    assert order("optim.batch_size=4", "optim.accumulate=2") == 2
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert order("optim.batch_size=4") == 2


@pytest.mark.parametrize("key", ["train", "val"])
def test_pictures_without_truth_are_refused(
    tiny_options: list[str], coco_root: Path, tmp_path: Path, key: str
):
    content = json.loads((coco_root / "annotations" / "instances_val.json").read_text())
    del content["annotations"]
    (coco_root / "annotations" / "image_info_test2017.json").write_text(json.dumps(content))
    options = [f"data.root={coco_root}", "data.train=val", "data.val=val", f"data.{key}=test2017"]
    config = load_config(DetectionConfig, None, [*tiny_options, *options])
    with pytest.raises(UserError, match=r"^test2017 has no annotations, .*--submission"):
        finetune(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
