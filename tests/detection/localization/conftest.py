"""A small set of pictures of one class each, in memory but for the files of the pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detection.localization.one_class_pictures import OneClassPictures
from detection.types import Target

Objects = list[tuple[int, tuple[float, float, float, float]]]  # label and box of each


class FewPictures:
    """A `DetectionDataset` whose pictures are noise of a stated size."""

    has_truth = True

    def __init__(
        self, folder: Path, objects: list[Objects], size: tuple[int, int], classes: list[str]
    ) -> None:
        self.folder, self.objects, self.size, self.classes = folder, objects, size, classes
        self.category_ids = [10 * label for label in range(1, len(classes) + 1)]
        self.image_ids: list[int | str] = [f"picture{index}" for index in range(len(objects))]
        rng = np.random.default_rng(0)
        for index in range(len(objects)):
            noise = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(noise).save(self.image_path(index))

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        return [self.size] * len(self)

    @property
    def targets(self) -> list[Target]:
        return [self.load_target(index) for index in range(len(self))]

    def image_path(self, index: int) -> Path:
        return self.folder / f"{self.image_ids[index]}.png"

    def load_target(self, index: int) -> Target:
        labels, boxes = [label for label, _ in self.objects[index]], [box for _, box in self.objects[index]]
        return Target(
            boxes=torch.tensor(boxes).reshape(-1, 4).float(),
            labels=torch.tensor(labels, dtype=torch.int64),
            ignore=torch.zeros(len(labels), dtype=torch.bool),
            image_id=self.image_ids[index],
            size=self.size,
        )

    def fingerprint(self) -> str:
        return "few"


FewMaker = Callable[..., FewPictures]


@pytest.fixture
def few(tmp_path: Path) -> FewMaker:
    """Makes a set of pictures of 100 x 140 pixels (height, width) from their objects."""

    def make(
        objects: list[Objects], size: tuple[int, int] = (100, 140), classes: tuple[str, ...] = ("cat", "dog")
    ) -> FewPictures:
        return FewPictures(tmp_path, objects, size, list(classes))

    return make


@pytest.fixture
def two_pictures(few: FewMaker) -> OneClassPictures:
    """A dog on the left, and two cats."""
    dog, cats = [(2, (0.0, 10.0, 60.0, 90.0))], [(1, (20.0, 20.0, 50.0, 80.0)), (1, (80.0, 5.0, 130.0, 60.0))]
    return OneClassPictures(few([dog, cats]), "val", "one_class")
