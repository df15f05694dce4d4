"""Small whole data sets to break, and what the doctor says of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.config import DetectionConfig
from doctor.diagnosis import examine, open_set
from doctor.findings import Finding
from training.config import parse_config

WIDTH, HEIGHT = 64, 48
SMALL = {
    "backbone": {"name": "resnet18", "norm": "batch", "frozen_stages": 0},
    "data": {"short_side": 96, "max_side": 128},
    "rpn": {"anchor_sizes": [24, 32], "channels": 16},
    "roi": {"size": 2, "regions_per_image": 4},
    "optim": {"batch_size": 2, "reference_batch": 2},
    "schedule": {"total_steps": 30},
}


def _draw(path: Path, seed: int, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> None:
    """A smooth picture of its own kind; (width, height)."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC).save(path, **options)


def _whole_coco() -> dict[str, Any]:
    """Two classes; three pictures with two objects each, one of them a polygon."""
    images = [{"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in (1, 2, 3)]
    annotations = [
        {
            "id": 10 * i + k,
            "image_id": i,
            "category_id": k,
            "bbox": [5 * k, 6, 20, 10 + i],
            "iscrowd": 0,
            "segmentation": [[5 * k, 6, 5 * k + 20, 6, 5 * k + 20, 16]],
        }
        for i in (1, 2, 3)
        for k in (1, 2)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Annotations of a whole set; pictures in tmp_path/pictures."""
    for number in (1, 2, 3):
        _draw(tmp_path / "pictures" / f"{number}.png", number)
    return _write(tmp_path / "a.json", _whole_coco())


def _write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """VOC2007 with two pictures, an object each, in the split trainval."""
    folder = tmp_path / "devkit" / "VOC2007"
    for name, seed in (("000001", 1), ("000002", 2)):
        _draw(folder / "JPEGImages" / f"{name}.jpg", seed)
        _write_xml(folder, name, [("cat", (5, 6, 30, 40))])
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "trainval.txt").write_text("000001\n000002\n")
    return folder


def _write_xml(
    folder: Path, name: str, objects: list[tuple[str, tuple]], size: tuple = (WIDTH, HEIGHT)
) -> None:
    nodes = "".join(
        f"<object><name>{label}</name><bndbox>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for label, box in objects
    )
    path = folder / "Annotations" / f"{name}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    size_node = f"<size><width>{width}</width><height>{height}</height></size>"
    path.write_text(f"<annotation>{size_node}{nodes}</annotation>")


@pytest.fixture
def diagnosis() -> Callable[..., list[Finding]]:
    """Everything found in sets as the command line writes them."""
    return lambda *texts, **options: (
        examine([s for text in texts for s in open_set(text)], **options).findings
    )


@pytest.fixture
def draw() -> Callable[..., None]:
    """Draws a smooth picture of its own kind: draw(path, seed, (width, height))."""
    return _draw


@pytest.fixture
def write() -> Callable[..., Path]:
    """Writes a JSON file: write(path, content)."""
    return _write


@pytest.fixture
def content() -> dict[str, Any]:
    """What stands in the file of `coco`."""
    return _whole_coco()


@pytest.fixture
def write_xml() -> Callable[..., None]:
    """Writes a VOC annotation: write_xml(folder, name, [(class, corners)], (width, height))."""
    return _write_xml


@pytest.fixture
def configured() -> Callable[..., DetectionConfig]:
    """A small configuration with changes: configured(data.root, *overrides)."""

    def call(folder: Path, *overrides: str) -> DetectionConfig:
        return parse_config(DetectionConfig, SMALL, [f"data.root={folder}", *overrides], source="test")

    return call


@pytest.fixture
def sets(coco: Path, tmp_path: Path) -> Path:
    """The whole set laid out as a configuration wants it, as training and as validation set."""
    (tmp_path / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (tmp_path / "annotations" / f"instances_{split}.json").write_bytes(coco.read_bytes())
        (tmp_path / split).symlink_to(tmp_path / "pictures")
    return tmp_path
