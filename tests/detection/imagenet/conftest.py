"""A tiny ILSVRC written by hand: two classes, whose numbers are not in the order of their WordNet ids."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = "n02 1 cat\nn01 2 dog house\n"
Corners = tuple[float, float, float, float]


def _write(root: Path, name: str, text: str) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    return root / name


def _add(root: Path, place: str, image_id: str, objects: Sequence[tuple[str, Corners]] | None = None) -> None:
    """A picture of 6 x 4 (width x height), and its annotation unless `objects` is None."""
    picture = root / "Data" / place / f"{image_id}.JPEG"
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 6), dtype=np.uint8)).save(picture)
    if objects is None:
        return
    nodes = "".join(
        f"<object><name>{wnid}</name><bndbox>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for wnid, box in objects
    )
    size = "<size><width>6</width><height>4</height></size>"
    text = f"<annotation><filename>{image_id.rpartition('/')[2]}</filename>{size}{nodes}</annotation>"
    _write(root, f"Annotations/{place}/{image_id}.xml", text)


@pytest.fixture
def write() -> Callable[[Path, str, str], Path]:
    """Writes a text file below the root: write(root, "ImageSets/DET/val.txt", "v1 1")."""
    return _write


@pytest.fixture
def add() -> Callable[..., None]:
    """Adds a picture: add(root, "DET/val", "v1", [("n02", (0, 0, 2, 2))])."""
    return _add


@pytest.fixture
def det(tmp_path: Path) -> Path:
    """DET: training pictures a/1 … a/4, the last without objects; val v1 … v3, of which val1 is v1 and v3."""
    root = tmp_path / "ILSVRC"
    _write(root, "devkit/data/map_det.txt", CLASSES)
    _write(root, "ImageSets/DET/train_1.txt", "a/1 1\na/2 1\na/3 -1\na/4 -1\n")
    _write(root, "ImageSets/DET/train_2.txt", "a/1 0\na/2 1\na/3 1\na/4 -1\n")
    _add(root, "DET/train", "a/1", [("n02", (0, 1, 2, 3))])
    _add(root, "DET/train", "a/2", [("n02", (0, 0, 1, 1)), ("n01", (2, 2, 5, 3))])
    _add(root, "DET/train", "a/3", [("n01", (0, 0, 5, 3))])
    _add(root, "DET/train", "a/4")
    _write(root, "ImageSets/DET/val.txt", "v1 1\nv2 2\nv3 3\n")
    _write(root, "ImageSets/DET/val1.txt", "v3 3\nv1 1\n")
    _write(root, "ImageSets/DET/test.txt", "t1 1\n")
    _write(root, "devkit/data/ILSVRC2015_det_validation_blacklist.txt", "3 n01\n2 n02\n")
    _add(root, "DET/val", "v1", [("n01", (0, 0, 2, 2))])
    _add(root, "DET/val", "v2", [])
    _add(root, "DET/val", "v3", [("n01", (0, 0, 2, 2)), ("n02", (1, 1, 5, 3))])
    _add(root, "DET/test", "t1")
    return root


@pytest.fixture
def loc(tmp_path: Path) -> Path:
    """CLS-LOC: training pictures n01/n01_1 and n02/n02_1; val v1, v2, v3 of numbers 1, 2, 1; v2 left out."""
    root = tmp_path / "ILSVRC"
    _write(root, "devkit/data/map_clsloc.txt", CLASSES)
    _write(root, "ImageSets/CLS-LOC/train_loc.txt", "n02/n02_1 1\nn01/n01_1 2\n")
    _add(root, "CLS-LOC/train", "n02/n02_1", [("n02", (0, 1, 2, 3)), ("n02", (4, 1, 5, 3))])
    _add(root, "CLS-LOC/train", "n01/n01_1", [("n01", (0, 0, 5, 3))])
    _write(root, "ImageSets/CLS-LOC/val.txt", "v2 2\nv1 1\nv3 3\n")  # not in the order of their names
    _write(root, "devkit/data/ILSVRC2015_clsloc_validation_ground_truth.txt", "1\n2\n1\n")
    _write(root, "devkit/data/ILSVRC2015_clsloc_validation_blacklist.txt", "2\n")
    for name, wnid in (("v1", "n02"), ("v2", "n01"), ("v3", "n02")):
        _add(root, "CLS-LOC/val", name, [(wnid, (0, 0, 2, 2))])
    _write(root, "ImageSets/CLS-LOC/test.txt", "t1 1\n")
    _add(root, "CLS-LOC/test", "t1")
    return root
