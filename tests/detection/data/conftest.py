"""Data sets opened for every test of the data code."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detection.data.coco_dataset import CocoDataset
from detection.data.shapes_scenes import ShapesFolders


@pytest.fixture(scope="session")
def val(shapes: ShapesFolders) -> CocoDataset:
    """The 100 pictures of Shapes' val."""
    return CocoDataset(shapes.coco / "annotations" / "instances_val.json", shapes.coco / "val")


@pytest.fixture
def small(write_coco: Callable[..., Path]) -> CocoDataset:
    """Three black pictures of 6 x 4: a crowd (2, 0, 3, 4); objects (1, 0, 4, 2), (4, 1, 6, 4); nothing."""
    path = write_coco()
    return CocoDataset(path, path.parent)
