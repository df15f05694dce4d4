"""Several data sets of the same classes as one."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from detection.data.annotations import DetectionDataset
from detection.types import Target
from foundation.errors import UserError


class JoinedDataset:
    """The pictures of one data set after those of another, such as COCO's train2014 and val2014."""

    def __init__(self, parts: Sequence[DetectionDataset], name: str) -> None:
        """Join `parts`, at least one.

        Args:
            name: of the whole, for messages.
        Raises:
            UserError: they differ in their classes or share a picture's id.
        """
        first = parts[0]
        self.classes, self.category_ids = first.classes, first.category_ids
        for part in parts[1:]:
            if (part.classes, part.category_ids) != (first.classes, first.category_ids):
                raise UserError(
                    f"{name}: the splits have different classes, {len(first.classes)} "
                    f"({', '.join(first.classes[:5])}…) and {len(part.classes)} "
                    f"({', '.join(part.classes[:5])}…); expected the same names and ids in all of them"
                )
        self.image_ids: list[int | str] = [image_id for part in parts for image_id in part.image_ids]
        twice, times = Counter(self.image_ids).most_common(1)[0] if self.image_ids else ("", 1)
        if times > 1:
            raise UserError(
                f"{name}: picture {twice!r} is in two of the splits; choose splits without overlap"
            )
        self.has_truth = all(part.has_truth for part in parts)
        self.parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of every picture."""
        return [size for part in self.parts for size in part.image_sizes]

    @cached_property
    def targets(self) -> list[Target]:
        """One Target per picture, without masks; for the metrics, not for training workers."""
        return [target for part in self.parts for target in part.targets]

    def image_path(self, index: int) -> Path:
        """The picture's file."""
        part, place = self._locate(index)
        return part.image_path(place)

    def load_target(self, index: int) -> Target:
        """The objects of one picture, as its own data set gives them."""
        part, place = self._locate(index)
        return part.load_target(place)

    def _locate(self, index: int) -> tuple[DetectionDataset, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        part = self.parts[number]
        return part, index - int(self._ends[number]) + len(part)
