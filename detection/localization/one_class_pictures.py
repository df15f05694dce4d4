"""The pictures of a set that show objects of one class, which is what localization is about."""

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from detection.data.annotations import DetectionDataset
from detection.types import Target
from foundation.errors import UserError

UNKNOWN = 0  # the label of a picture whose class only an evaluation server knows


PicturesOf = Literal["one_class", "single_object", "each_class"]


class OneClassPictures:
    """A data set with a class for every picture; itself a `DetectionDataset`.

    Of a set that knows the pictures' classes, as ImageNet's for localization, all take part. Of others those
    do whose objects are all of one class, or with "each_class" every picture once for each of its classes.

    Attributes:
        dataset: the set they are of.
        rows: their places in it.
        image_labels: 1…K, `UNKNOWN` where the set has no truth. Other objects of a picture are not seen.
        left_out: those, by place here, that ILSVRC does not score.
    """

    def __init__(self, dataset: DetectionDataset, name: str, pictures_of: PicturesOf) -> None:
        """Choose the pictures.

        Args:
            name: of the split, for messages.
            pictures_of: which; see `LocalizationData`.
        Raises:
            UserError: there are none, or all are left out.
        """
        self.dataset = dataset
        self.classes, self.category_ids = dataset.classes, dataset.category_ids
        self.has_truth = dataset.has_truth
        chosen = [(row, label) for row in range(len(dataset)) for label in _labels(dataset, row, pictures_of)]
        if not chosen:
            raise UserError(
                f"{name}: none of the {len(dataset)} pictures shows {_WANTED[pictures_of]}, which "
                f"data.pictures_of={pictures_of} wants; choose another split or set"
            )
        self.rows, self.image_labels = [row for row, _ in chosen], [label for _, label in chosen]
        unscored: Collection[int] = getattr(dataset, "left_out", frozenset())
        self.left_out = frozenset(place for place, row in enumerate(self.rows) if row in unscored)
        if len(self.left_out) == len(self.rows):
            raise UserError(
                f"{name}: all of its {len(self.rows)} pictures are on the blacklist of ILSVRC's development "
                "kit, so that nothing would be scored; choose another split"
            )
        self.image_ids: list[int | str] = [dataset.image_ids[row] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def image_sizes(self) -> Sequence[tuple[int, int]]:
        """(height, width) of every picture."""
        sizes = self.dataset.image_sizes
        return [sizes[row] for row in self.rows]

    @cached_property
    def targets(self) -> list[Target]:
        """One Target per picture, with the boxes of its class as the annotations state them."""
        targets = self.dataset.targets
        return [
            self._own(targets[row], label) for row, label in zip(self.rows, self.image_labels, strict=True)
        ]

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        return self.dataset.image_path(self.rows[index])

    def load_target(self, index: int) -> Target:
        """The objects of one picture's class for training."""
        return self._own(self.dataset.load_target(self.rows[index]), self.image_labels[index])

    def _own(self, target: Target, label: int) -> Target:
        return target.of_rows(target.labels == label)

    def fingerprint(self) -> str:
        """That of the set, and which of its pictures take part."""
        return f"{self.dataset.fingerprint()} {len(self.rows)}"


_WANTED = {
    "one_class": "objects of exactly one class",
    "single_object": "exactly one object",
    "each_class": "any object",
}


def _labels(dataset: DetectionDataset, row: int, pictures_of: PicturesOf) -> list[int]:
    """The classes for which a picture takes part."""
    if not dataset.has_truth:
        return [UNKNOWN]
    found = dataset.load_target(row).labels
    if pictures_of == "single_object" and len(found) != 1:
        return []
    if stated := getattr(dataset, "image_labels", None):
        return [stated[row]]
    labels: list[int] = found.unique().tolist()
    return labels if len(labels) == 1 or pictures_of == "each_class" else []
