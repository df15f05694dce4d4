"""A set of pictures to write in the layouts of annotation tools, and what every such set must pass."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from detection.config import DetectionConfig
from detection.data.dataset_splits import open_dataset
from training.config import load_config


class Scene(NamedTuple):
    """A picture of 64 x 48 pixels (width x height), and its objects: class, x1, y1, x2, y2."""

    name: str
    boxes: Sequence[tuple[str, int, int, int, int]]

    @property
    def stem(self) -> str:
        return Path(self.name).stem


class OwnSet:
    """Four pictures to train and two to validate on, of cats (white) and dogs (dark)."""

    splits = {
        "train": [
            Scene("a1.png", [("dog", 4, 6, 30, 40), ("cat", 34, 10, 60, 44)]),
            Scene("a2.png", [("cat", 10, 4, 44, 36)]),
            Scene("a3.png", []),
            Scene("a4.png", [("dog", 20, 8, 52, 42)]),
        ],
        "val": [
            Scene("b1.png", [("dog", 8, 10, 36, 42)]),
            Scene("b2.png", [("cat", 22, 2, 54, 30), ("dog", 2, 26, 30, 46)]),
        ],
    }
    all = [scene for scenes in splits.values() for scene in scenes]
    roboflow = {"train": splits["train"], "valid": splits["val"]}

    def __init__(self, root: Path) -> None:
        self.root = root

    def draw(self, folder: Path, scenes: Sequence[Scene]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for scene in scenes:
            pixels = np.random.default_rng(list(scene.name.encode())).integers(90, 110, (48, 64, 3))
            for label, x1, y1, x2, y2 in scene.boxes:
                pixels[y1:y2, x1:x2] = 250 if label == "cat" else 20
            Image.fromarray(pixels.astype(np.uint8)).save(folder / scene.name)

    def write(self, file: Path, content: object) -> None:
        """Text as it is, everything else as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty $DATA_ROOT: these sets lie elsewhere."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def own(tmp_path: Path) -> OwnSet:
    """A set to write into the folder "set"."""
    return OwnSet(tmp_path / "set")


def read_boxes(options: list[str]) -> dict[str, list[tuple]]:
    """Class and box of every object of both splits by the name of its picture."""
    data = load_config(DetectionConfig, None, options).data
    found = {}
    for split in (data.train, data.val):
        dataset = open_dataset(data, split)
        for index, target in enumerate(dataset.targets):
            names = [dataset.classes[label - 1] for label in target.labels.tolist()]
            boxes = zip(names, target.boxes.tolist(), strict=True)
            found[dataset.image_path(index).name] = sorted((name, *box) for name, box in boxes)
    return found


@pytest.fixture
def passes(
    tool: Callable, own: OwnSet, tiny_detector: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> Callable[..., None]:
    """Checks that the set is read as it was written, examined, trained, scored and drawn."""

    def check(kind: str, *others: str) -> None:
        options = [*tiny_detector, "run.device=cpu", "schedule.total_steps=2", "data.val_share=0.4"]
        options += [f"data.kind={kind}", f"data.root={own.root}", *others]
        read = read_boxes(options)
        for name, boxes in own.all:
            # Tables that leave out pictures without objects are the only layouts without them.
            assert name in read or (kind == "csv" and not boxes)
            assert read.get(name, []) == [(label, *map(pytest.approx, box)) for label, *box in sorted(boxes)]
        config, out = tmp_path / "a.yaml", tmp_path / "run"
        config.write_text("backbone: {name: resnet18}\nmetric: coco\n")
        tool("doctor", "--config", config, *options)
        printed = capsys.readouterr().out
        assert len(re.findall("objects?, 2 classes: ", printed)) == 2 and printed.rstrip().endswith("clean")
        tool("train_det", "--config", config, "--out", out, *options)
        trained = json.loads((out / "result.json").read_text())["scores"]
        tool("eval_det", "--weights", out / "last.safetensors", "--out", tmp_path / "scores")
        assert json.loads((tmp_path / "scores" / "result.json").read_text())["scores"] == trained
        found = ["--predictions", out / "predictions.json", "--dataset", f"{kind}:{own.root}"]
        same = ["data.val_share=0.4", "metric=coco", *(o for o in others if o.startswith("data."))]
        tool("eval_det", *found, "--out", tmp_path / "again", *same)
        assert json.loads((tmp_path / "again" / "result.json").read_text())["scores"] == trained
        drawn, pictures = tmp_path / "drawn", sorted(own.root.rglob("*.png"))[:2]
        tool("predict", *pictures, "--weights", out / "last.safetensors", "--out", drawn, "--threshold", 0)
        assert {path.name.split(".")[0] for path in drawn.iterdir()} == {"a1", "a2", "predictions"}
        categories = json.loads((drawn / "predictions.json").read_text())["categories"]
        assert [category["name"] for category in categories] == ["cat", "dog"]

    return check
