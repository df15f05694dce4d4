"""PASCAL VOC as the devkit unpacks: Annotations/*.xml, ImageSets/Main/*.txt, JPEGImages/*.jpg."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from detection.data.annotations import PackedObjects, Problem, no_objects
from detection.data.voc_checks import VocAnnotation, read_annotation, read_xml
from detection.types import Target
from foundation.errors import UserError, first_difference, suggest
from foundation.file_reading import read_text
from pictures.annotations.voc_classes import CLASSES_FILE, VOC_CLASSES
from pictures.decoding import image_size
from pictures.file_names import find_file, fitting_files
from pictures.suffixes import PICTURE_SUFFIXES, is_picture


class XmlSplit(Protocol):
    """A split of a set whose annotations are VOC's XML, one file a picture."""

    @property
    def list_file(self) -> Path:
        """Where the split's pictures are listed."""

    def image_ids(self) -> list[str]:
        """The names of the split's pictures, as they are listed; UserError where they cannot be read."""

    def annotation_file(self, image_id: str) -> Path: ...

    def image_path(self, image_id: str) -> Path: ...

    def read(self, image_id: str, names: Sequence[str]) -> VocAnnotation:
        """The annotation of a picture, with all that is wrong with it; `names` are what <name> may be."""

    def is_secret(self) -> bool:
        """Whether only the evaluation server knows the objects."""


class VocSplit(NamedTuple):
    """One split of one year: the year's folder, such as VOCdevkit/VOC2007, and a name such as "trainval"."""

    folder: Path
    name: str

    def __str__(self) -> str:
        return f"{self.year}:{self.name}"

    @property
    def year(self) -> str:
        """Of VOC2007 "2007"."""
        return self.folder.name.removeprefix("VOC")

    @staticmethod
    def of(devkit: Path, year: str, name: str) -> "VocSplit":
        """A split where the devkit unpacks to: VOCdevkit/VOC<year>."""
        return VocSplit(devkit / f"VOC{year}", name)

    @property
    def list_file(self) -> Path:
        """Where the split's pictures are listed."""
        return self.folder / "ImageSets" / "Main" / f"{self.name}.txt"

    def annotation_file(self, image_id: str) -> Path:
        """The XML file of a picture, found as `find_file` does."""
        return find_file(self.folder / "Annotations", f"{image_id}.xml")

    def image_path(self, image_id: str) -> Path:
        """The file of a picture: <image_id>.jpg, or the only one of another suffix or of spelling.

        Where there is none or several are, it is the file that the annotation calls <filename>.
        """
        folder = self.folder / "JPEGImages"
        jpeg = folder / f"{image_id}.jpg"
        if jpeg.is_file():
            return jpeg
        found = [file for suffix in PICTURE_SUFFIXES for file in fitting_files(folder, image_id + suffix)]
        if len(found) == 1:
            return found[0]
        root = read_xml(self.annotation_file(image_id))
        named = "" if isinstance(root, Problem) else (root.findtext("filename") or "").strip()
        file = find_file(folder, named) if named else jpeg
        return file if file.is_file() else jpeg

    def read(self, image_id: str, names: Sequence[str]) -> VocAnnotation:
        """The annotation of a picture, with all that is wrong with it; `names` are the classes."""
        return read_annotation(self.annotation_file(image_id), names, self.image_path(image_id))

    def classes(self) -> list[str]:
        """VOC's 20 classes, or those of classes.txt in the folder, one a line in the order of the labels."""
        file = self.folder / CLASSES_FILE
        if not file.is_file():
            return list(VOC_CLASSES)
        lines = read_text(file, "expected the name of a class in each line").splitlines()
        names = [line.strip() for line in lines if line.strip()]
        if not names or len(set(names)) < len(names):
            raise UserError(f"{file} holds {len(names)} lines, expected one class a line, each once")
        return names

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
        return [self._name_in(line.strip()) for line in lines if line.strip()]

    def _name_in(self, line: str) -> str:
        """The picture that a line of a list names, perhaps with its suffix."""
        if line.startswith("/") or ".." in line.split("/"):  # what is repaired would be written there, too
            raise UserError(f"{self.list_file}: {line!r} lies elsewhere; expected a name in Annotations")
        if is_picture(Path(line)) and not self.annotation_file(line).is_file():
            line = line[: -len(Path(line).suffix)]
        if len(line.split()) == 1 or self.annotation_file(line).is_file() or self.image_path(line).is_file():
            return line
        raise UserError(
            f"{self.list_file}: {line!r} is the name of no picture, expected one in each line. Lists with "
            "more columns are no splits: cat_train.txt says for each picture whether it shows a cat; take "
            "train, or write a list of names"
        )

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

    def __init__(
        self,
        devkit: str | Path,
        splits: Sequence[tuple[str, str]],
        classes: Sequence[str] | None = None,
    ) -> None:
        """Read every annotation once.

        Args:
            devkit: the folder of the years' folders, such as VOCdevkit.
            splits: year and name of each, e.g. ("2007", "trainval") and ("2012", "trainval").
            classes: names in label order, label 1 is the first; None takes those of the splits.
        Raises:
            UserError: files are missing, an annotation is malformed, or the splits have different classes.
        """
        parts = [VocSplit.of(Path(devkit), year, name) for year, name in splits]
        self.classes = _common_classes(parts) if classes is None else list(classes)
        self.category_ids = list(range(1, len(self.classes) + 1))
        self._pictures = XmlPictures(parts, self.classes)
        self.image_ids = self._pictures.image_ids
        self.has_truth = self._pictures.has_truth

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture; without annotations from the headers of all."""
        return self._pictures.sizes

    @cached_property
    def targets(self) -> list[Target]:
        """One Target per picture, with the boxes as the files state them."""
        return [self._pictures.target(index) for index in range(len(self))]

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        return self._pictures.path(index)

    def fingerprint(self) -> str:
        """A digest of the pictures' names and their annotations, which must be known."""
        return self._pictures.fingerprint()

    def load_target(self, index: int) -> Target:
        """The objects of one picture for training; none where there are no annotations."""
        return self._pictures.training_target(index)


class XmlPictures:
    """The pictures of splits whose annotations are VOC's XML, each read once."""

    def __init__(self, splits: Sequence[XmlSplit], names: Sequence[str]) -> None:
        """Read the annotations of all pictures; UserError where one is malformed or listed twice.

        Args:
            names: what <name> may be, in the order of the labels.
        """
        listed = _list_images(splits)
        self.splits = list(listed.values())  # of each picture
        self.image_ids: list[int | str] = list(listed)
        self.has_truth = not any(split.is_secret() for split in splits)
        self._objects = _read_objects(listed, names) if self.has_truth else None

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture; without annotations from the headers of all."""
        if self._objects is not None:
            return [(height, width) for height, width in self._objects.sizes.tolist()]
        return [image_size(self.path(index)) for index in range(len(self.image_ids))]

    def path(self, index: int) -> Path:
        """The picture's file."""
        return self.splits[index].image_path(str(self.image_ids[index]))

    def fingerprint(self) -> str:
        """A digest of the pictures' names and their annotations, which must be known."""
        assert self._objects is not None
        return self._objects.fingerprint(list(map(str, self.image_ids)))

    def target(self, index: int) -> Target:
        """The objects of one picture as its file states them; none where there are no annotations."""
        if self._objects is not None:
            return self._objects.target(index)
        return no_objects(self.image_ids[index], image_size(self.path(index)))

    def training_target(self, index: int) -> Target:
        """The same with single precision."""
        target = self.target(index)
        return replace(target, boxes=target.boxes.float())


def _read_objects(listed: Mapping[str, XmlSplit], names: Sequence[str]) -> PackedObjects:
    sizes, rows = [], []
    for index, (image_id, split) in enumerate(listed.items()):
        size, objects, problems = split.read(image_id, names)
        if problems or size is None:
            raise problems[0].error(split.annotation_file(image_id))
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


def _common_classes(splits: Sequence[VocSplit]) -> list[str]:
    classes = splits[0].classes()
    for split in splits[1:]:
        if (others := split.classes()) != classes:
            raise UserError(
                f"{splits[0]} and {split} have different classes{first_difference(classes, others)}; give "
                f"{splits[0].folder} and {split.folder} the same {CLASSES_FILE}"
            )
    return classes


def _list_images(splits: Sequence[XmlSplit]) -> dict[str, XmlSplit]:
    """Every picture of the splits, in order."""
    listed: dict[str, XmlSplit] = {}
    for split in splits:
        for image_id in split.image_ids():
            if image_id in listed:
                raise UserError(
                    f"{split.list_file}: picture {image_id} is listed a second time; expected every picture "
                    f"once: choose splits without overlap, got {', '.join(map(str, splits))}"
                )
            listed[image_id] = split
    return listed
