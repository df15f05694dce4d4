"""A data set as it stands in its files, faults included: what the loaders would refuse to give."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from doctor.findings import Finding


class Picture(NamedTuple):
    """One picture of a set.

    Attributes:
        where: how findings call it.
        path: its file.
        size: (height, width) as stated, None where none is, or none that can be.
        entry: row of the annotation file's list; -1 where there is no such list.
    """

    where: str
    path: Path
    size: tuple[int, int] | None
    entry: int = -1


class Thing(NamedTuple):
    """One object: a row of `Survey.objects`.

    Attributes:
        where: how findings call it.
        picture: index into `Survey.pictures`.
        category: index into `Survey.classes`.
        box: x1, y1, x2, y2, finite.
        ignore: crowd or difficult.
        entry: row of the annotation file's list, or of its picture's objects.
    """

    where: str
    picture: int
    category: int
    box: tuple[float, float, float, float]
    ignore: bool
    entry: int


@dataclass
class Survey:
    """What could be read of one set.

    Attributes:
        name: as the command line calls it.
        classes: names, those of a COCO file in order of id.
        findings: of the reading itself.
        clips: whether the loader cuts boxes at the picture's border and drops what is left empty (COCO), or
            refuses those outside (VOC).
        annotated: whether pictures have boxes (class folders do not).
        content: a COCO file's content as read, for repair.
        part: sets of the same part, for instance training, belong together; between others pictures leak.
    """

    name: str
    classes: list[str]
    pictures: list[Picture] = field(default_factory=list)
    objects: list[Thing] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    clips: bool = True
    annotated: bool = True
    content: Any = None
    part: str | None = None

    def is_apart(self, other: "Survey") -> bool:
        """Whether a picture of both would be a leak."""
        return self is not other and (self.part is None or self.part != other.part)

    def boxes(self) -> NDArray[np.float64]:
        """(T, 4) xyxy."""
        return np.array([thing.box for thing in self.objects], dtype=np.float64).reshape(-1, 4)

    def sizes(self, things: Sequence[Thing] | None = None) -> NDArray[np.float64]:
        """(T, 2) height and width of every object's picture, NaN where no size is stated."""
        rows = [self.pictures[thing.picture].size for thing in (self.objects if things is None else things)]
        return np.array([row or (np.nan, np.nan) for row in rows], dtype=np.float64).reshape(-1, 2)


def clipped(boxes: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (T, 4) xyxy cut at the border of pictures of `sizes` (T, 2), where these are known."""
    limits = np.nan_to_num(sizes, nan=np.inf)[:, [1, 0, 1, 0]]
    return np.clip(boxes, 0, limits)
