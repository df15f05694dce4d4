"""PASCAL VOC as the devkit unpacks: Annotations/*.xml, ImageSets/Main/*.txt, JPEGImages/*.jpg."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detection.data.annotations import PackedObjects, no_objects
from detection.data.voc_checks import read_annotation
from detection.types import Target
from foundation.errors import UserError, suggest
from foundation.file_reading import read_text
from pictures.decoding import image_size

_NAMES = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
pottedplant sheep sofa train tvmonitor"""
VOC_CLASSES = tuple(_NAMES.split())


class VocSplit(NamedTuple):
    """One split of one year: the year's folder, such as VOCdevkit/VOC2007, and a name such as "trainval"."""

    folder: Path
    name: str

    def __str__(self) -> str:
        return f"{self.folder.name.removeprefix('VOC')}:{self.name}"

    @property
    def list_file(self) -> Path:
        """Where the split's pictures are listed."""
        return self.folder / "ImageSets" / "Main" / f"{self.name}.txt"

    def annotation_file(self, image_id: str) -> Path:
        """The XML file of a picture."""
        return self.folder / "Annotations" / f"{image_id}.xml"

    def image_path(self, image_id: str) -> Path:
        """The file of a picture."""
        return self.folder / "JPEGImages" / f"{image_id}.jpg"

    def image_ids(self) -> list[str]:
        """The names of the split's pictures, as they are listed; UserError without such a folder or list."""
        lists = self.list_file.parent
        if not lists.is_dir():
            raise UserError(
                f"no VOC pictures in {self.folder}: expected the folders Annotations, ImageSets/Main and "
                f"JPEGImages; get {self.folder.name} from http://host.robots.ox.ac.uk/pascal/VOC/ and unpack "
                f"it so that {self.folder} exists"
            )
        if not self.list_file.is_file():
            # Main also holds one list per class (cat_train.txt); those are no splits.
            known = sorted(file.stem for file in lists.glob("*.txt") if "_" not in file.stem)
            raise UserError(
                f"{self.list_file}: {self.folder.name} has no split {self.name!r}{suggest(self.name, known)}"
            )
        lines = read_text(self.list_file, "expected the name of a picture in each line").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def is_secret(self) -> bool:
        """Whether only the evaluation server knows the objects, as of all test splits but that of 2007."""
        if self.name != "test" or self.folder.name == "VOC2007":
            return False
        return not all(self.annotation_file(image_id).is_file() for image_id in self.image_ids())


class VocDataset:
    """One or more splits of a VOC devkit.

    Boxes are read as `VocObject` says. They are never clipped: the official metric is not either. Objects
    marked `difficult` are read with `ignore` set. Test splits later than 2007's come without annotations.
    """

    def __init__(self, splits: Sequence[VocSplit], classes: Sequence[str] = VOC_CLASSES) -> None:
        """Read every annotation once.

        Args:
            splits: e.g. the trainvals of 2007 and 2012.
            classes: names in label order; label 1 is the first.
        Raises:
            UserError: files are missing or an annotation is malformed.
        """
        self.classes = list(classes)
        self.category_ids = list(range(1, len(self.classes) + 1))
        listed = _list_images(splits)
        self._split_of = list(listed.values())
        self.image_ids: list[int | str] = list(listed)
        self.has_truth = not any(split.is_secret() for split in splits)
        self._objects = _read_objects(listed, self.classes) if self.has_truth else None

    def __len__(self) -> int:
        return len(self.image_ids)

    @cached_property
    def image_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture; without annotations from the headers of all."""
        if self._objects is not None:
            return [(height, width) for height, width in self._objects.sizes.tolist()]
        return [image_size(self.image_path(index)) for index in range(len(self))]

    @cached_property
    def targets(self) -> list[Target]:
        """One Target per picture, with the boxes as the files state them."""
        return [self._target(index) for index in range(len(self))]

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        return self._split_of[index].image_path(str(self.image_ids[index]))

    def fingerprint(self) -> str:
        """A digest of the pictures' names and their annotations, which must be known."""
        assert self._objects is not None
        return self._objects.fingerprint(list(map(str, self.image_ids)))

    def load_target(self, index: int) -> Target:
        """The objects of one picture for training; none where there are no annotations."""
        target = self._target(index)
        return replace(target, boxes=target.boxes.float())

    def _target(self, index: int) -> Target:
        if self._objects is not None:
            return self._objects.target(index)
        return no_objects(self.image_ids[index], image_size(self.image_path(index)))


def _read_objects(listed: Mapping[str, VocSplit], classes: Sequence[str]) -> PackedObjects:
    sizes, rows = [], []
    for index, (image_id, split) in enumerate(listed.items()):
        path = split.annotation_file(image_id)
        size, objects, problems = read_annotation(path, classes)
        if problems or size is None:
            raise problems[0].error(path)
        sizes.append(size)
        rows += [(index, *found.box, found.label, found.difficult) for found in objects]
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    return PackedObjects.pack(
        image_index=table[:, 0].astype(np.int64),
        boxes=table[:, 1:5],
        labels=table[:, 5].astype(np.int64),
        ignore=table[:, 6].astype(bool),
        image_ids=list(listed),
        image_sizes=sizes,
    )


def _list_images(splits: Sequence[VocSplit]) -> dict[str, VocSplit]:
    """Every picture of the splits, in order."""
    listed: dict[str, VocSplit] = {}
    for split in splits:
        for image_id in split.image_ids():
            if image_id in listed:
                raise UserError(
                    f"{split.list_file}: picture {image_id} is listed a second time; expected every picture "
                    f"once: choose splits without overlap, got {', '.join(map(str, splits))}"
                )
            listed[image_id] = split
    return listed
