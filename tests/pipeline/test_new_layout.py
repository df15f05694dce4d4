"""A layout of annotations of one's own: a reader, here this file, and one line of the table."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.data.annotation_writers import coco_annotation, coco_image
from detection.layouts.layout import FoundSet, Layout, SetOptions, categories
from detection.own_sets.dataset_kinds import DATASETS, DatasetKind
from foundation.errors import UserError
from pictures.decoding import image_size


def find_boxes(root: Path, options: SetOptions) -> FoundSet:
    """Pictures, and boxes.txt with a line "file class x1 y1 x2 y2" for each object."""
    if not (root / "boxes.txt").is_file():
        raise UserError(f"{root} holds no boxes.txt; write one")
    return FoundSet("boxes.txt", root, {"all": partial(read, root)})


def read(root: Path) -> Layout:
    rows = [line.split() for line in (root / "boxes.txt").read_text().splitlines()]
    names = sorted({row[1] for row in rows})
    images = [coco_image(name, name, image_size(root / name)) for name in dict.fromkeys(r[0] for r in rows)]
    annotations = [
        coco_annotation(n, file, names.index(label) + 1, tuple(map(float, box)), crowd=False)
        for n, (file, label, *box) in enumerate(rows)
    ]
    content = {"images": images, "categories": categories(names), "annotations": annotations}
    return Layout(content, root, str(root / "boxes.txt"))


def test_it_is_divided_trained_scored_and_examined(
    tool: Callable,
    tiny_detector: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.setitem(DATASETS, "boxes", DatasetKind(None, find=find_boxes))
    root, config, out = tmp_path / "set", tmp_path / "a.yaml", tmp_path / "run"
    root.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(90, 110, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number}.png")
    lines = [f"{number}.png {'cat' if number % 2 else 'dog'} 4 8 36 40\n" for number in range(5)]
    (root / "boxes.txt").write_text("".join(lines))
    config.write_text("backbone: {name: resnet18}\nschedule: {total_steps: 2}\nmetric: coco\n")
    options = [*tiny_detector, "data.kind=boxes", f"data.root={root}", "schedule.total_steps=2"]
    tool("train_det", "--config", config, "--out", out, *options)
    scores = json.loads((out / "result.json").read_text())["scores"]
    tool("eval_det", "--weights", out / "last.safetensors", "--out", tmp_path / "scores")
    assert json.loads((tmp_path / "scores" / "result.json").read_text())["scores"] == scores
    capsys.readouterr()
    tool("doctor", f"boxes:{root}", "--write-coco", tmp_path / "all.json")
    assert (
        f"boxes:{root}:all: boxes.txt, 5 pictures, 5 objects, 2 classes (cat, dog)" in capsys.readouterr().out
    )
    assert len(json.loads((tmp_path / "all.json").read_text())["annotations"]) == 5
