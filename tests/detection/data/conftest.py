"""Small annotation files to break, and the generated Shapes set."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.data.coco import CocoDataset
from detection.data.shapes import ShapesFolders, ensure_shapes

# name, (xmin, ymin, xmax, ymax), difficult
VocObject = tuple[str, tuple[Any, Any, Any, Any], int]
VocWriter = Callable[..., Path]
CocoWriter = Callable[..., Path]


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> ShapesFolders:
    """All 300 pictures, in both layouts."""
    return ensure_shapes(tmp_path_factory.mktemp("shapes"))


def _xml(objects: Sequence[VocObject], size: tuple[int, int]) -> str:
    height, width = size
    nodes = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box, difficult in objects
    )
    return f"<annotation><size><width>{width}</width><height>{height}</height></size>{nodes}</annotation>"


@pytest.fixture
def write_voc(tmp_path: Path) -> VocWriter:
    """Writes annotations of pictures of 353 x 500 into VOCdevkit/VOC<year>; returns the VOCdevkit folder."""

    def write(
        objects: Mapping[str, Sequence[VocObject]],
        *,
        year: str = "2007",
        split: str = "train",
        size: tuple[int, int] = (500, 353),
    ) -> Path:
        folder = tmp_path / "VOCdevkit" / f"VOC{year}"
        for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in objects))
        for name, members in objects.items():
            (folder / "Annotations" / f"{name}.xml").write_text(_xml(members, size))
        return folder.parent

    return write


@pytest.fixture
def coco_content() -> dict[str, Any]:
    """Three pictures of 6 x 4 (width x height): objects, a crowd, nothing; category ids with a gap."""
    return {
        "images": [
            {"id": 30, "file_name": "c.jpg", "height": 4, "width": 6},
            {"id": 10, "file_name": "a.jpg", "height": 4, "width": 6},
            {"id": 20, "file_name": "b.jpg", "height": 4, "width": 6},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            annotation(1, 10, 18, [1, 0, 3, 2], [[1, 0, 4, 0, 4, 2, 1, 2]]),
            # Columns first: 0…7 empty, column 2 filled (4 pixels), the other 12 empty.
            {**annotation(2, 30, 1, [2, 0, 1, 4], {"size": [4, 6], "counts": [8, 4, 12]}), "iscrowd": 1},
            annotation(3, 10, 1, [4, 1, 2, 3], [[4, 1, 6, 1, 6, 4, 4, 4]]),
        ],
    }


def annotation(number: int, image: int, category: int, box: list, segmentation: Any) -> dict[str, Any]:
    """One entry of COCO's `annotations`."""
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "segmentation": segmentation,
        "iscrowd": 0,
    }


@pytest.fixture
def write_coco(tmp_path: Path, coco_content: dict[str, Any]) -> CocoWriter:
    """Writes a COCO file, `coco_content` unless told, and black pictures beside it; returns the file."""

    def write(content: Any = coco_content) -> Path:
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(content))
        for name in "abc":
            Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(tmp_path / f"{name}.jpg")
        return path

    return write


@pytest.fixture(scope="session")
def val(shapes: ShapesFolders) -> CocoDataset:
    """The 100 pictures of Shapes' val."""
    return CocoDataset(shapes.coco / "annotations" / "instances_val.json", shapes.coco / "val")


@pytest.fixture
def small(write_coco: Callable[..., Path]) -> CocoDataset:
    """Three black pictures of 6 x 4: a crowd (2, 0, 3, 4); objects (1, 0, 4, 2), (4, 1, 6, 4); nothing."""
    path = write_coco()
    return CocoDataset(path, path.parent)
