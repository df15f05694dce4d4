"""Scores during training do not depend on the number of processes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCORING = """
import json, sys
import torch
from classification import pretrain as module
from classification.config import PretrainConfig
from classification.data.opened_splits import open_split
from training.config import parse_config
from training.devices import gather_objects, process_group

module.SCORED_AT_ONCE = 5
options = ["model.name=resnet8_cifar", "data.kind=folder", f"data.root={sys.argv[1]}", "data.train_split=val"]
options += ["data.val_split=val", "data.image_size=16", "data.resize=16", "run.workers=0"]
options += ["optim.batch_size=16", "schedule.total_steps=1"]
config = parse_config(PretrainConfig, {}, options, source="here")
with process_group(torch.device("cpu")):
    pictures = open_split(config.data, training=False)
    model = module.draw_classifier(config, pictures, torch.device("cpu"))
    sizes = []
    model.register_forward_hook(lambda module, images, logits: sizes.append(len(logits)))
    result = module.pretraining_task(config, model, pictures, pictures).evaluate().result
    print(json.dumps({"result": result, "sizes": sizes}))
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a split of 22 pictures of noise in three classes."""
    rng = np.random.default_rng(0)
    for number in range(22):
        folder = tmp_path / "val" / "abc"[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path


def test_one_and_two_processes_score_alike(pictures: Path, in_processes: Callable):
    # 22 pictures five at a time are batches of 5, 5, 5, 5 and 2; two processes take two and three of them.
    (alone,) = in_processes(SCORING, pictures, count=1)
    first, second = in_processes(SCORING, pictures)
    assert alone["sizes"] == [5, 5, 5, 5, 2]
    assert (first["sizes"], second["sizes"]) == ([5, 5], [5, 5, 2])
    assert first["result"] == second["result"] == alone["result"]
    assert alone["result"]["pictures"] == 22 and alone["result"]["scores"]["loss"] > 0
