"""YOLO's text files of labels: one object a line, in shares of the picture's width and height.

A line is a class, counted from 0, and a box (centre x, centre y, width, height), or a class and a polygon
x1 y1 x2 y2 x3 y3 …. A picture without a file, or with an empty one, has no object.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detection.data.annotation_writers import coco_image
from detection.data.annotations import Problem
from detection.layouts.layout import categories
from foundation.errors import UserError
from foundation.file_reading import read_text
from pictures.annotations.field_checks import decimal, shown
from pictures.decoding import image_size

DIGITS = 6  # of a pixel: boxes written in shares with all their digits come back as they were
BEYOND = 0.01  # of the picture, by which other programs let labels leave it


class Labelled(NamedTuple):
    """A picture and its file of labels, None where it has none."""

    picture: Path
    labels: Path | None


def read_labels(
    pictures: Sequence[Labelled], names: Sequence[str], root: Path, *, keypoints: bool = False
) -> tuple[dict[str, Any], list[Problem]]:
    """The content of a COCO file, and everything for which the set is refused.

    Args:
        names: of the classes, that of class 0 first.
        root: to which the names of pictures and of places in errors are relative.
        keypoints: behind a box stand points, which are left out.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for picture, labels in pictures:
        name = Path(os.path.relpath(picture, root)).as_posix()
        try:
            size = image_size(picture)
        except UserError as error:
            problems.append(Problem("malformed_entry", name, str(error)))
            continue
        images.append(coco_image(name, name, size))
        rows = [] if labels is None else _rows(labels, root, keypoints)
        outlined = any(len(row) >= 7 and len(row) % 2 for _, row in rows)
        for where, row in rows:
            found = _object(row, names, size, outlined)
            if isinstance(found, dict):
                annotations.append({"id": where, "image_id": name, **found, "iscrowd": 0})
            else:
                problems.append(found._replace(where=where))
    return {"images": images, "categories": categories(names), "annotations": annotations}, problems


def _rows(labels: Path, root: Path, keypoints: bool) -> list[tuple[str, list[str]]]:
    """The lines of a file that are not empty, and where each stands."""
    lines = read_text(labels, "expected a class and the shares of a box in each line").splitlines()
    where = Path(os.path.relpath(labels, root)).as_posix()
    numbered = ((number, line.split()) for number, line in enumerate(lines, start=1))
    return [(f"{where} line {number}", row[:5] if keypoints else row) for number, row in numbered if row]


def _object(
    row: Sequence[str], names: Sequence[str], size: tuple[int, int], outlined: bool
) -> dict[str, Any] | Problem:
    """The fields of an annotation, or what is wrong with a line.

    Args:
        size: (height, width) of the picture.
        outlined: other lines of the file are polygons.
    """
    if outlined and len(row) == 5:
        return _malformed(
            "holds four numbers, among lines with polygons: a box, or a polygon of two points? Write all "
            "objects of the file as boxes or all as polygons of at least three points"
        )
    if len(row) == 6:
        return _malformed(
            "holds six numbers; the sixth is a confidence, so that these are predictions and no labels: "
            "remove that column if they are to be trained on"
        )
    if len(row) < 5 or len(row) % 2 == 0:
        return _malformed(
            f"holds {len(row)} numbers, expected a class and a box (x y width height) or a polygon of at "
            "least three points (x1 y1 x2 y2 x3 y3 …): correct the line"
        )
    index = decimal(row[0])
    if not index.is_integer() or index < 0:
        return _malformed(f"begins with {shown(row[0])}, expected the number of a class, 0 or more")
    if index >= len(names):
        text = (
            f"class {index:.0f} is beyond the {len(names)} names (0 {names[0]} to {len(names) - 1} "
            f"{names[-1]}): add its name or correct the line"
        )
        return Problem("unknown_category", "", text)
    shares = [decimal(text) for text in row[1:]]
    for text, share in zip(row[1:], shares, strict=True):
        if not -BEYOND <= share <= 1 + BEYOND:
            return _malformed(
                f"{shown(text)} is no share of the picture; expected numbers from 0 to 1, which are pixels "
                "divided by its width or height: correct the line"
            )
    return {"category_id": int(index) + 1, **in_pixels(shares, size)}


def _malformed(text: str) -> Problem:
    return Problem("malformed_box", "", text)


def in_pixels(shares: Sequence[float], size: tuple[int, int]) -> dict[str, Any]:
    """Box, area and outline of an object, from shares of a picture of `size` (height, width)."""
    height, width = size
    if len(shares) == 4:
        x, y, w, h = shares
        sides = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
        box = [round(side, DIGITS) for side in sides]
        return {"bbox": box, "area": max(box[2], 0.0) * max(box[3], 0.0)}
    xs = [round(x * width, DIGITS) for x in shares[::2]]
    ys = [round(y * height, DIGITS) for y in shares[1::2]]
    turned = zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
    area = abs(sum(x1 * y2 - x2 * y1 for x1, y1, x2, y2 in turned)) / 2
    left, top = min(xs), min(ys)
    outline = [value for point in zip(xs, ys, strict=True) for value in point]
    box = [left, top, round(max(xs) - left, DIGITS), round(max(ys) - top, DIGITS)]
    return {"bbox": box, "area": area, "segmentation": [outline]}
