"""What the training loop is given; the loop itself and whole runs are tested elsewhere."""

from pathlib import Path
from typing import Any

import pytest
import torch

from detection.build import build_detector, open_dataset
from detection.config import DetectionConfig
from detection.finetune import detection_task
from engine.config import load_config


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
