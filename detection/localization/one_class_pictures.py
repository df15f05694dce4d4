"""The pictures of a set that show objects of one class, which is what localization is about."""

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

import torch

from detection.data.annotations import DetectionDataset
from detection.types import Target
from foundation.errors import UserError

UNKNOWN = 0  # the label of a picture whose class only an evaluation server knows


class OneClassPictures:
    """A data set with a class for every picture; itself a `DetectionDataset`.

    Of a set that knows the pictures' classes, as ImageNet's for localization, all take part. Of others those
    do whose objects are all of one class.

    Attributes:
        dataset: the set they are of.
        rows: their places in it.
        image_labels: 1…K, `UNKNOWN` where the set has no truth.
        left_out: those, by place here, that ILSVRC does not score.
    """

    def __init__(self, dataset: DetectionDataset, name: str, *, single_object: bool) -> None:
        """Choose the pictures.

        Args:
            name: of the split, for messages.
            single_object: only those with exactly one object take part.
        Raises:
            UserError: there are none.
        """
        self.dataset = dataset
        self.classes, self.category_ids = dataset.classes, dataset.category_ids
        self.has_truth = dataset.has_truth
        labels = _image_labels(dataset)
        counts = [len(dataset.load_target(index).labels) for index in range(len(dataset))]
        wanted = [
            label is not None and (count == 1 or not single_object or not self.has_truth)
            for label, count in zip(labels, counts, strict=True)
        ]
        self.rows = [row for row, is_wanted in enumerate(wanted) if is_wanted]
        self.image_labels = [label for row in self.rows if (label := labels[row]) is not None]
        if not self.rows:
            kind = "exactly one object" if single_object else "objects of exactly one class"
            raise UserError(
                f"{name}: none of the {len(dataset)} pictures shows {kind}, which localization needs; choose "
                "another split or set"
            )
        unscored: Collection[int] = getattr(dataset, "left_out", frozenset())
        self.left_out = frozenset(place for place, row in enumerate(self.rows) if row in unscored)
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
        """One Target per picture, with the boxes as the annotations state them."""
        targets = self.dataset.targets
        return [targets[row] for row in self.rows]

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        return self.dataset.image_path(self.rows[index])

    def load_target(self, index: int) -> Target:
        """The objects of one picture for training."""
        return self.dataset.load_target(self.rows[index])

    def fingerprint(self) -> str:
        """That of the set, and which of its pictures take part."""
        return f"{self.dataset.fingerprint()} {len(self.rows)}"


def _image_labels(dataset: DetectionDataset) -> list[int | None]:
    """The class of every picture; None where there are several, or none."""
    if known := getattr(dataset, "image_labels", None):
        return list(known)
    if not dataset.has_truth:
        return [UNKNOWN] * len(dataset)
    found = (torch.unique(dataset.load_target(index).labels).tolist() for index in range(len(dataset)))
    return [labels[0] if len(labels) == 1 else None for labels in found]
