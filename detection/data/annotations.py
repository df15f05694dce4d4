"""What a data set for detection is, and what all of them share.

`PackedObjects` keeps the objects of a whole set in a few arrays. Python objects would be copied page by page
into every worker process, because their reference counts change when they are read (detectron2#3847).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from detection.types import Target
from foundation.errors import UserError
from pictures.annotations.field_checks import Problem
from pictures.decoding import upright_and_stored_size

ROUNDING = 1.0  # pixels that a box may lie beyond the border of its picture by rounding


class Joinable(Protocol):
    """What must fit where data sets are joined.

    `category_ids[i]` is the data set's own id of `classes[i]`, which is label i + 1 everywhere inside.
    """

    classes: list[str]
    category_ids: list[int]
    image_ids: list[int | str]


class DetectionDataset(Joinable, Protocol):
    """What training, evaluation and prediction ask of a data set.

    `targets` has the boxes as the annotations state them, for the metrics and for all that stands beside a
    figure; `load_target` gives what training sees of a picture, which may be clipped to it. `has_truth` is
    False where nobody but an evaluation server knows the objects.
    """

    has_truth: bool

    def __len__(self) -> int: ...

    @property
    def image_sizes(self) -> Sequence[tuple[int, int]]: ...

    @property
    def targets(self) -> list[Target]: ...

    def image_path(self, index: int) -> Path: ...

    def load_target(self, index: int) -> Target: ...

    def fingerprint(self) -> str:
        """A digest of the pictures' names and all annotations: a run only goes on with equal ones."""


def no_objects(image_id: int | str, size: tuple[int, int]) -> Target:
    """The Target of a picture (height, width) without objects, or without known ones."""
    return Target(
        boxes=torch.zeros(0, 4),
        labels=torch.zeros(0, dtype=torch.int64),
        ignore=torch.zeros(0, dtype=torch.bool),
        image_id=image_id,
        size=size,
    )


def void_pairs(dataset: DetectionDataset) -> frozenset[tuple[int, int]]:
    """The pictures, by their numbers from 0, and labels that do not count together: ILSVRC's blacklist.

    A data set that has some says so by an attribute of this name; most have none.
    """
    if isinstance(dataset, JoinedDataset):
        starts = np.cumsum([0, *map(len, dataset.parts)]).tolist()[:-1]
        parts = zip(starts, dataset.parts, strict=True)
        return frozenset((start + index, label) for start, part in parts for index, label in void_pairs(part))
    return getattr(dataset, "void_pairs", frozenset())


def require_truth(dataset: DetectionDataset, name: str) -> None:
    """Refuse the split `name` with a UserError where its objects are not published."""
    if not dataset.has_truth:
        raise UserError(
            f"{name} has no annotations, so that nothing can be trained or scored on it; take a split that "
            "has, and write this one's results for its evaluation server with "
            "tools/eval_det.py --weights FILE --submission PLACE data.val=SPLIT"
        )


@dataclass(frozen=True)
class PackedObjects:
    """All objects of a data set, ordered by picture.

    Attributes:
        boxes: (T, 4) float64 xyxy, as the annotations state them.
        labels: (T,) int64, 1…K.
        ignore: (T,) bool.
        starts: (N + 1,) int64; picture i owns rows starts[i] to starts[i + 1].
        image_ids: N integers or text, as the data set gives them.
        sizes: (N, 2) int64, height and width.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    starts: NDArray[np.int64]
    image_ids: Sequence[int | str]
    sizes: NDArray[np.int64]

    @staticmethod
    def pack(
        image_index: NDArray[np.int64],
        boxes: NDArray[np.float64],
        labels: NDArray[np.int64],
        ignore: NDArray[np.bool_],
        image_ids: Sequence[int | str],
        image_sizes: Sequence[tuple[int, int]],
    ) -> "PackedObjects":
        """From columns in picture order; `image_index` (T,), ascending, says whose each object is."""
        counts = np.bincount(image_index, minlength=len(image_ids))
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        sizes = np.array(image_sizes, dtype=np.int64).reshape(-1, 2)
        return PackedObjects(boxes, labels, ignore, starts, image_ids, sizes)

    def owners(self) -> NDArray[np.int64]:
        """(T,) whose each object is."""
        return np.repeat(np.arange(len(self.image_ids)), np.diff(self.starts))

    def target(self, index: int) -> Target:
        """The objects of picture `index`, copied out."""
        rows = slice(self.starts[index], self.starts[index + 1])
        height, width = self.sizes[index].tolist()
        return Target(
            boxes=torch.from_numpy(self.boxes[rows].copy()),
            labels=torch.from_numpy(self.labels[rows].copy()),
            ignore=torch.from_numpy(self.ignore[rows].copy()),
            image_id=self.image_ids[index],
            size=(height, width),
        )

    def fingerprint(self, names: Sequence[str], segmentations: bytes = b"") -> str:
        """As of `DetectionDataset`; `names` are the pictures' files, below the folder of the set."""
        numbers = (self.boxes, self.labels, self.ignore, self.starts, self.sizes)
        content = [repr((list(names), list(self.image_ids))).encode(), *(n.tobytes() for n in numbers)]
        return hashlib.sha256(b"".join([*content, segmentations])).hexdigest()[:16]


def joining_problems(first: Joinable, second: Joinable) -> Iterator[Problem]:
    """Why the pictures of both cannot be one data set: other classes, or a picture's id in common."""
    if (first.classes, first.category_ids) != (second.classes, second.category_ids):
        shown = []
        for part in (first, second):
            examples = [f"{i} {name}" for i, name in zip(part.category_ids, part.classes, strict=True)]
            shown.append(f"{len(examples)} ({', '.join(examples[:5])}…)")
        text = f"the splits have different classes, {' and '.join(shown)}; expected the same ids and names"
        yield Problem("different_classes", "", f"{text} in all of them")
    for image_id in sorted(set(first.image_ids) & set(second.image_ids), key=str):
        text = f"picture {image_id!r} is in two of the splits; choose splits without overlap"
        yield Problem("duplicate_image_id", "", text)


def turned_problem(
    boxes: NDArray[np.float64], size: tuple[int, int], upright: tuple[int, int], stored: tuple[int, int]
) -> Problem | None:
    """Why boxes (R, 4) xyxy cannot be of the picture they are stated for, if they fit it only turned by EXIF.

    Args:
        size: (height, width) as the annotation states it, which is also how the picture is read.
        upright, stored: (height, width) of the file, turned by its EXIF orientation and as it is stored.
    """
    if upright == stored or size not in (upright, stored) or not fit_only_turned(boxes, size):
        return None
    right, bottom = boxes[:, 2:].max(axis=0)
    how = (
        "upright, as its EXIF orientation turns it"
        if size == stored
        else "as it is stored, not turned by EXIF"
    )
    text = (
        f"the boxes reach {right:g}x{bottom:g} (width x height), beyond the stated {size[1]}x{size[0]}, and "
        f"fit the picture {how}: state its size there, {size[0]}x{size[1]}, or correct the boxes"
    )
    return Problem("turned_boxes", "", text)


def fit_only_turned(boxes: NDArray[np.float64], size: tuple[int, int]) -> bool:
    """Whether boxes leave a picture of this (height, width) that all of them fit in after a quarter turn."""
    if not len(boxes):
        return False
    right, bottom = boxes[:, 2:].max(axis=0) - ROUNDING
    return bool((right > size[1] or bottom > size[0]) and right <= size[0] and bottom <= size[1])


def refuse_turned(objects: PackedObjects, image_path: Callable[[int], Path], where: str) -> None:
    """Refuse a set with a UserError where `turned_problem` finds one; missing files are not its matter."""
    owners = objects.owners()
    right, bottom = objects.boxes[:, 2:].T  # one after the other: all at once would be the peak of memory
    beyond = right - ROUNDING > objects.sizes[owners, 1]
    beyond |= bottom - ROUNDING > objects.sizes[owners, 0]
    for index in np.unique(owners[beyond]).tolist():
        target, path = objects.target(index), image_path(index)
        if fit_only_turned(target.boxes.numpy(), target.size) and path.is_file():
            problem = turned_problem(target.boxes.numpy(), target.size, *upright_and_stored_size(path))
            if problem:
                raise UserError(f"{where}: picture {target.image_id} ({path}): {problem.text}")


class JoinedDataset:
    """The pictures of one data set after those of another, such as COCO's train2014 and val2014."""

    def __init__(self, parts: Sequence[DetectionDataset], name: str) -> None:
        """Join `parts`, at least one, as `name`; UserError where `joining_problems` finds any."""
        for first, second in combinations(parts, 2):
            for problem in joining_problems(first, second):
                raise problem.error(name)
        self.classes, self.category_ids = parts[0].classes, parts[0].category_ids
        self.image_ids: list[int | str] = [image_id for part in parts for image_id in part.image_ids]
        self.has_truth = all(part.has_truth for part in parts)
        self.parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture."""
        return [size for part in self.parts for size in part.image_sizes]

    @cached_property
    def targets(self) -> list[Target]:
        """One Target per picture, without masks, with the boxes as the files state them."""
        return [target for part in self.parts for target in part.targets]

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        part, place = self._locate(index)
        return part.image_path(place)

    def load_target(self, index: int) -> Target:
        """The objects of one picture for training, as its own data set gives them."""
        part, place = self._locate(index)
        return part.load_target(place)

    def fingerprint(self) -> str:
        """Those of the parts."""
        return " ".join(part.fingerprint() for part in self.parts)

    def _locate(self, index: int) -> tuple[DetectionDataset, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[number], index - int(self._starts[number])
