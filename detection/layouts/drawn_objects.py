"""Objects as annotation tools draw them: boxes and polygons of rectangles, circles and ellipses."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from detection.data.annotations import Problem
from foundation.errors import UserError
from pictures.annotations.field_checks import FARTHEST, is_number, shown

Point = tuple[float, float]
CORNERS = 64  # of the polygon that stands for a circle: within 0.2 % of its radius


class DrawnObject(NamedTuple):
    """One object.

    Attributes:
        label: the name of its class.
        box: x1, y1, x2, y2 in pixels.
        segmentation: polygons or a run-length, as COCO has them; None where a box is all there is.
        where: the file, and the line or the shape in it, for messages.
    """

    label: str
    box: tuple[float, float, float, float]
    segmentation: list[list[float]] | dict[str, Any] | None
    where: str


class DrawnPicture(NamedTuple):
    """One picture: its file below the folder of pictures, (height, width) where stated, and its objects."""

    file_name: str
    size: tuple[int, int] | None
    objects: list[DrawnObject]


@contextmanager
def gathered(problems: list[Problem] | None, where: str) -> Iterator[None]:
    """Makes a UserError within the block one more of the problems; raises it where none are gathered."""
    try:
        yield
    except UserError as error:
        if problems is None:
            raise
        problems.append(Problem("malformed_box", where, str(error).removeprefix(f"{where}: ")))


def numbers(values: Any, count: int, where: str, what: str) -> list[float]:
    """`values` if they are so many numbers of pixels, else a UserError that calls them `what`."""
    sound = isinstance(values, list) and len(values) == count
    if not sound or not all(is_number(value) and abs(value) <= FARTHEST for value in values):
        text = f"{what} is {shown(values)}, expected {count} finite numbers of pixels; correct or remove it"
        raise UserError(f"{where}: {text}")
    return values


def polygon(points: Sequence[Point], where: str) -> list[Point]:
    """The corners of a polygon; UserError of fewer than three."""
    if len(points) < 3:
        text = f"a polygon of {len(points)} points, expected at least 3; draw it again or remove it"
        raise UserError(f"{where}: {text}")
    return list(points)


def rectangle(x1: float, y1: float, x2: float, y2: float) -> list[Point]:
    """The corners of a rectangle between two opposite ones, from the top left on whichever they are."""
    (x1, x2), (y1, y2) = sorted((x1, x2)), sorted((y1, y2))
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def ellipse(x: float, y: float, width: float, height: float, turn: float = 0.0) -> list[Point]:
    """The corners of a polygon around (x, y), inside an ellipse of these radii turned by `turn` radians."""
    angles = 2 * np.pi * np.arange(CORNERS) / CORNERS
    across, down = width * np.cos(angles), height * np.sin(angles)
    # Exact where an axis is met, so that the box of a circle is that of its radius.
    across[CORNERS // 4 :: CORNERS // 2] = 0
    down[:: CORNERS // 2] = 0
    cos, sin = math.cos(turn), math.sin(turn)
    xs, ys = x + across * cos - down * sin, y + across * sin + down * cos
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def drawn(label: str, polygons: Sequence[Sequence[Point]], where: str) -> DrawnObject:
    """The object of these polygons; its box is around all of them."""
    xs, ys = zip(*(point for corners in polygons for point in corners), strict=True)
    flat = [[float(value) for point in corners for value in point] for corners in polygons]
    return DrawnObject(label, (min(xs), min(ys), max(xs), max(ys)), flat, where)


def only_boxes(pictures: Iterable[DrawnPicture]) -> bool:
    """Whether every object is drawn as a rectangle, which says nothing of its outline."""
    return all(
        found.segmentation in (None, [[float(v) for corner in rectangle(*found.box) for v in corner]])
        for picture in pictures
        for found in picture.objects
    )


def coco_content(
    pictures: Iterable[DrawnPicture], classes: Sequence[str], ids: Callable[[str], int | str], *, masks: bool
) -> dict[str, Any]:
    """The content of a COCO file.

    Args:
        classes: the names of the categories 1…K; every label is among them.
        ids: gives a picture's id by its file name.
        masks: whether the segmentations are to be in it.
    """
    number = {name: category for category, name in enumerate(classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in pictures:
        image = {"id": ids(picture.file_name), "file_name": picture.file_name}
        height, width = picture.size or (None, None)
        images.append({**image, "height": height, "width": width})
        for found in picture.objects:
            x1, y1, x2, y2 = found.box
            annotation = {
                "id": found.where, "image_id": image["id"], "category_id": number[found.label],
                "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0,
            }  # fmt: skip
            annotations.append(annotation | ({"segmentation": found.segmentation} if masks else {}))
    categories = [{"id": category, "name": name} for name, category in number.items()]
    return {"images": images, "categories": categories, "annotations": annotations}
