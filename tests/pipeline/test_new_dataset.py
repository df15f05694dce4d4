"""A data set of one's own: a module, here this file, and one line of the table; every command knows it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detection.data.annotations import DetectionDataset, no_objects
from detection.own_sets.dataset_kinds import DATASETS, DatasetKind
from detection.types import Target


class StripesDataset:
    """Grey pictures of 64 x 48 with one white rectangle each; a split is its number of pictures."""

    classes = ["stripe"]
    category_ids = [7]
    has_truth = True

    def __init__(self, root: Path, split: str) -> None:
        self._root = root
        self.image_ids: list[int | str] = [f"{split}-{number}" for number in range(int(split))]

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def image_sizes(self) -> Sequence[tuple[int, int]]:
        return [(48, 64)] * len(self)

    @property
    def targets(self) -> list[Target]:
        return [self.load_target(index) for index in range(len(self))]

    def image_path(self, index: int) -> Path:
        return self._root / f"{self.image_ids[index]}.png"

    def fingerprint(self) -> str:
        return str(self.image_ids)

    def load_target(self, index: int) -> Target:
        box = torch.tensor([[4.0 + index, 8, 36 + index, 40]])
        empty = no_objects(self.image_ids[index], (48, 64))
        return replace(empty, boxes=box, labels=torch.tensor([1]), ignore=torch.tensor([False]))


def open_stripes(root: Path, split: str, masks: bool) -> DetectionDataset:
    return StripesDataset(root, split)


@pytest.fixture
def options(tmp_path: Path, tiny_detector: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The set on disk and in the table, and a configuration that trains two steps on it."""
    monkeypatch.setitem(DATASETS, "stripes", DatasetKind("stripes", open_stripes))
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))
    folder = tmp_path / "data" / "stripes"
    folder.mkdir(parents=True)
    for split in ("4", "2"):
        dataset = StripesDataset(folder, split)
        for index, target in enumerate(dataset.targets):
            x1, y1, x2, y2 = target.boxes[0].int().tolist()
            pixels = np.random.default_rng([int(split), index]).integers(90, 110, (48, 64, 3), dtype=np.uint8)
            pixels[y1:y2, x1:x2] = 255
            Image.fromarray(pixels).save(dataset.image_path(index))
    return [*tiny_detector, "data.kind=stripes", "data.train='4'", "data.val='2'", "schedule.total_steps=2"]


def test_it_is_trained_scored_and_examined(
    tool: Callable, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
):
    config, out = tmp_path / "a.yaml", tmp_path / "run"
    config.write_text("backbone: {name: resnet18}\nschedule: {total_steps: 2}\nmetric: coco\n")
    tool("train_det", "--config", config, "--out", out, *options)
    result = json.loads((out / "result.json").read_text())
    assert "AP" in result["scores"]
    found = json.loads((out / "predictions.json").read_text())
    assert all(record["category_id"] == 7 and record["image_id"] in ("2-0", "2-1") for record in found)
    tool("eval_det", "--weights", out / "last.safetensors", "--out", tmp_path / "scores")
    assert json.loads((tmp_path / "scores" / "result.json").read_text())["scores"] == result["scores"]
    capsys.readouterr()
    tool("doctor", "--config", config, *options)
    printed = capsys.readouterr().out
    assert "2 steps are 1 epochs of 4 pictures" in printed and printed.rstrip().endswith("clean")
    assert "4 pictures, 4 objects, 1 class: stripe 4" in printed
