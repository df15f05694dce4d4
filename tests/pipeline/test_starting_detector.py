"""A detector trained by the command line, and the next one started from it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import detection

SHORT = ["schedule.total_steps=2", "run.eval_every=2", "run.checkpoint_every=1"]


def write_set(root: Path) -> Path:
    """Two grey pictures with a dark square each, "mark", in COCO's layout."""
    (root / "annotations").mkdir(parents=True)
    images, objects = [], []
    for number, split in enumerate(("train", "train", "val"), start=1):
        (root / split).mkdir(exist_ok=True)
        pixels = np.full((64, 96, 3), 150, dtype=np.uint8)
        pixels[20:40, 30:60] = 40
        Image.fromarray(pixels).save(root / split / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 96})
        objects.append({"id": number, "image_id": number, "category_id": 7, "bbox": [30, 20, 30, 20]})
    for split, rows in (("train", slice(0, 2)), ("val", slice(2, 3))):
        boxes = [{"iscrowd": 0, "area": 600, **entry} for entry in objects[rows]]
        content = {"images": images[rows], "annotations": boxes, "categories": [{"id": 7, "name": "mark"}]}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def test_from_one_set_to_another(tool: Callable, refused: Callable, tiny_detector: list[str], tmp_path: Path):
    tool("train_det", "--out", tmp_path / "a", *tiny_detector, *SHORT)
    first, second = tmp_path / "a" / "best.safetensors", tmp_path / "b"
    own = [f"data.root={write_set(tmp_path / 'set')}", "data.train=train", "data.val=val"]
    options = [*tiny_detector, *SHORT, *own, f"model.weights={first}"]
    tool("train_det", "--out", second, *options)
    detector = detection.load(second / "best.safetensors", device="cpu")
    assert (detector.classes, detector.category_ids) == (["mark"], [7])
    assert f"weights: {first}" in (second / "config.yaml").read_text()
    # By a map the predictors of another class go on; one that does not fit is told before pictures are read.
    tool("train_det", "--out", tmp_path / "mapped", *options, "model.category_map={mark: disc}")
    picture = tmp_path / "set" / "val" / "3.png"
    content = picture.read_bytes()
    picture.write_bytes(b"broken")
    message = refused("train_det", "--out", tmp_path / "c", *options, "model.category_map={mark: dsic}")
    assert "'dsic' is no class of" in message and "did you mean 'disc'?" in message
    picture.write_bytes(content)
    # A run goes on without the file that it started from; a new one does not begin.
    first.unlink()
    (second / "result.json").unlink()
    tool("train_det", "--out", second, "--resume", *options)
    assert json.loads((second / "result.json").read_text())["step"] == 2
    assert f"no weights at {first}" in refused("train_det", "--out", tmp_path / "c", *options)
    tool(
        "predict", tmp_path / "set" / "val", "--weights", second / "last.safetensors", "--out", tmp_path / "d"
    )
