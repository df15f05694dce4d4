"""A data set as it stands in its files, faults included: what the loaders would refuse to give."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from doctor.findings import Finding


class SurveyedPicture(NamedTuple):
    """One picture of a set."""

    where: str  # how findings call it
    path: Path
    size: tuple[int, int] | None  # (height, width) as stated, None where none is, or none that can be
    row: int = -1  # of the annotation file's list, where there is one


class SurveyedObject(NamedTuple):
    """One object of a set."""

    where: str  # how findings call it
    picture: int  # index into `Survey.pictures`
    category: int  # index into `Survey.classes`
    box: tuple[float, ...]  # x1, y1, x2, y2, finite
    ignore: bool  # crowd or difficult


@dataclass
class Survey:
    """What could be read of one set.

    Attributes:
        name: as the command line calls it.
        classes: names, those of a COCO file in order of id.
        category_ids, image_ids: as the loader will give them; none of class folders.
        findings: of the reading itself.
        ignored: what objects are called that count neither as found nor as missed.
        annotated: whether pictures have boxes (class folders do not).
        labelled: whether pictures have label maps, which are then all that is annotated.
        content: a COCO file's content as read, for repair.
        layout: of a set that was found in a folder, in words.
        role: sets of the same role, for instance training, belong together; between others pictures leak.
    """

    name: str
    classes: list[str]
    category_ids: list[int] = field(default_factory=list)
    image_ids: list[int | str] = field(default_factory=list)
    pictures: list[SurveyedPicture] = field(default_factory=list)
    objects: list[SurveyedObject] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ignored: Literal["crowd", "difficult"] = "crowd"
    annotated: bool = True
    labelled: bool = False
    content: Any = None
    layout: str = ""
    role: str | None = None

    def is_apart(self, other: "Survey") -> bool:
        """Whether a picture of both would be a leak."""
        return self is not other and (self.role is None or self.role != other.role)

    def boxes(self) -> NDArray[np.float64]:
        """(T, 4) xyxy."""
        return np.array([found.box for found in self.objects], dtype=np.float64).reshape(-1, 4)

    def sizes(self) -> NDArray[np.float64]:
        """(T, 2) height and width of every object's picture, NaN where no size is stated."""
        rows = [self.pictures[found.picture].size for found in self.objects]
        return np.array([row or (np.nan, np.nan) for row in rows], dtype=np.float64).reshape(-1, 2)


def clipped(boxes: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (T, 4) xyxy cut at the border of pictures of `sizes` (T, 2), where these are known."""
    limits = np.nan_to_num(sizes, nan=np.inf)[:, [1, 0, 1, 0]]
    return np.clip(boxes, 0, limits)
