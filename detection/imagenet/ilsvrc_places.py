"""Where the archives of a challenge put pictures, annotations, lists and the development kit."""

from pathlib import Path
from typing import Literal, NamedTuple

from detection.imagenet.devkit_rows import SOURCE
from foundation.errors import UserError, suggest

Task = Literal["DET", "CLS-LOC"]

_HALVES = {"val1", "val2"}
_ALL_LISTS = "train_*"  # DET lists its training pictures once for each class, in train_1.txt and so on


class IlsvrcPlaces(NamedTuple):
    """The files of one task below the root, such as ILSVRC."""

    root: Path
    task: Task

    @property
    def lists(self) -> Path:
        """The folder of the lists."""
        return self.root / "ImageSets" / self.task

    @property
    def synsets(self) -> Path:
        """The devkit's file of the classes."""
        return self.root / "devkit" / "data" / f"map_{self.task.lower().replace('-', '')}.txt"

    def list_file(self, split: str) -> Path:
        """Where the pictures of a split are listed; DET's "train" is in several files, named by a pattern."""
        if split == "train":
            return self.lists / ("train_loc.txt" if self.task == "CLS-LOC" else f"{_ALL_LISTS}.txt")
        return self.lists / f"{split}.txt"

    def devkit_file(self, name: str) -> Path:
        """The devkit's file called ILSVRC<year>_<task>_validation_<name>.txt, of the last year there is."""
        task = self.task.lower().replace("-", "")
        data = self.root / "devkit" / "data"
        found = sorted(data.glob(f"ILSVRC*_{task}_validation_{name}.txt"))
        return found[-1] if found else data / f"ILSVRC2015_{task}_validation_{name}.txt"

    def annotation_file(self, split: str, image_id: str) -> Path:
        """The XML of a picture."""
        return self.root / "Annotations" / self.task / part_of(split) / f"{image_id}.xml"

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of a picture."""
        return self.root / "Data" / self.task / part_of(split) / f"{image_id}.JPEG"

    def require(self, split: str) -> None:
        """A UserError where there is no such folder, or no list of such a split."""
        if not self.lists.is_dir():
            raise UserError(
                f"no pictures of ImageNet {self.task} in {self.root}: expected the folders "
                f"Annotations/{self.task}, Data/{self.task}, ImageSets/{self.task} and devkit/data; get the "
                f"{self.task} archive and the development kit of {SOURCE} and unpack them so that "
                f"{self.lists} exists, or name another folder with data.root"
            )
        if split == "train" and self.task == "DET":
            found = any(self.lists.glob(f"{_ALL_LISTS}.txt"))
        else:
            found = self.list_file(split).is_file() and not split.startswith("train_")
        if found:
            return
        if self.task == "DET" and split in _HALVES:
            raise UserError(
                f"{self.list_file(split)}: no such file. val1 and val2 are the halves of val of Girshick et "
                "al. 2014, on which the paper trains and scores; they are no part of the archive: R-CNN's "
                "code (github.com/rbgirshick/rcnn) publishes them. Put val1.txt and val2.txt beside val.txt, "
                f"or divide val yourself with tools/halve_val.py {self.root}"
            )
        names = {file.stem for file in self.lists.glob("*.txt") if not file.stem.startswith("train_")}
        raise UserError(
            f"{self.list_file(split)}: ImageNet {self.task} has no split {split!r}"
            f"{suggest(split, sorted(names | {'train'}))}"
        )


def part_of(split: str) -> str:
    """The folder of a split's pictures: "train", "test", and "val" for all that are listed otherwise."""
    return split if split in ("train", "test") else "val"
