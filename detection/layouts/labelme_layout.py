"""labelme's annotations: a JSON for each picture, beside it or in a folder near it."""

import base64
import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from detection.data.annotations import Problem
from detection.layouts.drawn_objects import (
    DrawnObject,
    DrawnPicture,
    Point,
    drawn,
    ellipse,
    gathered,
    numbers,
    polygon,
    rectangle,
)
from detection.layouts.picture_places import pictures_below
from foundation.errors import UserError
from foundation.file_reading import read_json, read_text, readable
from pictures.annotations.coco_masks import draw_mask
from pictures.annotations.field_checks import is_id, is_size, is_text, shown
from pictures.decoding import upright_and_stored_size
from pictures.file_names import find_file
from pictures.opening import DECODING_ERRORS, open_picture
from pictures.suffixes import is_hidden, is_picture

_log = logging.getLogger(__name__)

LABELS_FILE = "labels.txt"
NO_CLASSES = ("__ignore__", "_background_")  # in labelme's list of labels
_POLYGONS = ("polygon", "rotation", "oriented_rectangle")
_UNFILLED = ("point", "points", "line", "linestrip")
_EXPECTED = (
    "expected an annotation of labelme, with imagePath and a list of shapes: move other files elsewhere"
)

_Size = tuple[int, int]
_Shape = tuple[str, dict[str, Any]]  # where it stands, and its entry


def read_labels(folder: Path) -> tuple[list[str], str] | None:
    """The classes of labelme's own labels.txt, in its order, and its path; None where the folder has none."""
    file = folder / LABELS_FILE
    if not file.is_file():
        return None
    lines = [line.strip() for line in read_text(file, "expected a class in each line").splitlines()]
    names = [line for line in lines if line and line not in NO_CLASSES]
    if not names or len(set(names)) < len(names):
        raise UserError(f"{file} holds {len(names)} classes, expected at least one, and each once")
    return names, str(file)


def read_labelme(
    folder: Path, pictures: Path | None = None, problems: list[Problem] | None = None
) -> tuple[list[DrawnPicture], Path]:
    """All pictures in a folder and those below it, and those that its annotations name.

    Polygons, rectangles, circles and masks are objects; those of one label and one group are one object.
    Points and lines are none: they are left out and counted in the log. A picture of the folder without JSON
    is one without objects.

    Args:
        pictures: where they lie, if not in or beside the folder; then only annotated ones are taken.
        problems: where all faults of single files and shapes are gathered; without it the first is raised.
    Returns:
        The pictures in the order of their names, and the folder below which they lie: the given one, or the
        one above it where annotations name pictures there, such as ../images/a.jpg.
    Raises:
        UserError: a file is no such annotation, names no picture nearby, or a shape in it is none.
    """
    files = list(_files_below(folder))
    if not files:
        raise UserError(f"{folder} holds no annotation of labelme (.json); check data.root and the split")
    beside = list(pictures_below(pictures or folder))
    left_out: Counter[str] = Counter()
    found: dict[Path, tuple[Path, list[DrawnObject], _Size | None]] = {}
    for file in files:
        with gathered(problems, str(file)):
            content = _content(file)
            picture = _picture_of(file, content, pictures or folder.parent, beside)
            if picture in found:
                text = f"annotates {picture}, and so does {found[picture][0]}; keep one of them"
                raise UserError(f"{file}: {text}")
            size = _size(content, str(file))
            groups = _groups(content, file, left_out, problems)
            found[picture] = (file, list(_objects(groups, picture, size, problems)), size)
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        _log.warning("%s: shapes that are no objects are left out: %s", folder, kinds)
    outside = pictures is None and any(not path.is_relative_to(folder) for path in found)
    place = pictures or (folder.parent if outside else folder)
    alone = () if pictures else (path for path in beside if path not in found)
    entries = {path: (size, objects) for path, (_, objects, size) in found.items()}
    entries |= {path: (None, []) for path in alone}
    return [
        DrawnPicture(path.relative_to(place).as_posix(), *entries[path]) for path in sorted(entries)
    ], place


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not is_hidden(path):
            yield from _files_below(path)
        elif path.suffix.lower() == ".json" and not is_hidden(path):
            yield path


def _content(file: Path) -> dict[str, Any]:
    content = read_json(file, _EXPECTED)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise UserError(f"{file}: has no list of shapes; {_EXPECTED}")
    for number, shape in enumerate(content["shapes"], start=1):
        if not isinstance(shape, dict):
            raise UserError(f"{file}: shape {number} is {shown(shape)}; {_EXPECTED}")
    return content


def _picture_of(file: Path, content: dict[str, Any], within: Path, beside: Sequence[Path]) -> Path:
    """The picture that an annotation is of.

    It is the named file if that lies within a folder. Annotations that came from another machine name paths
    of that one: then the only picture of that name, or of the JSON's own, is taken.
    """
    named: Any = content.get("imagePath")
    if not is_text(named):
        raise UserError(f"{file}: imagePath is {shown(named)}, expected the name of a picture; {_EXPECTED}")
    path = Path(os.path.normpath(find_file(file.parent, named)))
    if path.is_relative_to(within) and is_picture(path) and os.path.isfile(path):
        return path
    name = PureWindowsPath(named).name  # which takes both kinds of separators
    for same in (
        [picture for picture in beside if picture.name == name],
        [picture for picture in beside if picture.stem == file.stem],
    ):
        nearest = [picture for picture in same if picture.parent == file.parent] or same
        if len(nearest) == 1:
            return nearest[0]
    inside = ", which it holds itself as imageData: save it there" if content.get("imageData") else ""
    text = f"no picture {shown(named)} beside it, nor another of its name{inside}"
    raise UserError(f"{file}: {text}; correct imagePath, or name the folder with data.pictures=FOLDER")


def _size(content: dict[str, Any], where: str) -> _Size | None:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if height is None or width is None:
        return None
    if not is_size(height, width):
        text = f"imageHeight {shown(height)} and imageWidth {shown(width)}, expected whole numbers above 0"
        raise UserError(f"{where}: {text}; correct them or enter null for both")
    return int(height), int(width)


def _groups(
    content: dict[str, Any], file: Path, left_out: Counter[str], problems: list[Problem] | None
) -> list[list[_Shape]]:
    """The shapes of each object of one file: single ones, and groups of one label."""
    groups: dict[object, list[_Shape]] = {}
    for number, shape in enumerate(content["shapes"], start=1):
        where, label, group = f"{file}: shape {number}", shape.get("label"), shape.get("group_id")
        with gathered(problems, where):
            if not is_text(label):
                raise UserError(f"{where}: label is {shown(label)}, expected the name of a class; enter it")
            if group is not None and not is_id(group):
                raise UserError(f"{where}: group_id is {shown(group)}, expected a number or null; correct it")
            kind = shape.get("shape_type", "polygon")  # labelme 3 knew nothing else and did not write it
            if kind in _UNFILLED or label in NO_CLASSES:
                left_out[kind if kind in _UNFILLED else label] += 1
                continue
            key = ("shape", number) if group is None else (label, str(group))
            groups.setdefault(key, []).append((where, shape))
    return list(groups.values())


def _objects(
    groups: Sequence[Sequence[_Shape]], picture: Path, size: _Size | None, problems: list[Problem] | None
) -> Iterator[DrawnObject]:
    for members in groups:
        where, shape = members[0]
        with gathered(problems, where):
            if any(member.get("shape_type") == "mask" for _, member in members):
                found = _masked(members, picture, size)
            else:
                found = drawn(shape["label"], [_outline(*member) for member in members], where)
            yield found


def _points(where: str, shape: dict[str, Any]) -> list[Point]:
    points = shape.get("points")
    if not isinstance(points, list):
        raise UserError(f"{where}: points is {shown(points)}, expected a list of [x, y]; draw it again")
    pairs = [numbers(point, 2, where, f"point {n}") for n, point in enumerate(points, start=1)]
    return [(x, y) for x, y in pairs]


def _outline(where: str, shape: dict[str, Any]) -> list[Point]:
    """The polygon of a shape that is no mask."""
    points, kind = _points(where, shape), shape.get("shape_type", "polygon")
    if kind in _POLYGONS or (kind == "rectangle" and len(points) == 4):  # X-AnyLabeling writes all four
        return polygon(points, where)
    if kind not in ("rectangle", "circle"):
        known = ", ".join(("polygon", "rectangle", "circle", "mask", *_UNFILLED))
        raise UserError(f"{where}: shape_type is {shown(kind)}, expected one of {known}; draw it again")
    if len(points) != 2:
        raise UserError(f"{where}: a {kind} of {len(points)} points, expected 2; draw it again or remove it")
    (x1, y1), (x2, y2) = points
    if kind == "circle":
        radius = math.hypot(x2 - x1, y2 - y1)
        return ellipse(x1, y1, radius, radius)
    return rectangle(x1, y1, x2, y2)


def _masked(members: Sequence[_Shape], picture: Path, size: _Size | None) -> DrawnObject:
    """The object of shapes of which one at least is a mask."""
    where, shape = members[0]
    sizes = upright_and_stored_size(picture)  # no larger than a picture may be
    if size not in (None, *sizes):
        text = f"stated {size[0]}x{size[1]} (height x width), the picture is {sizes[0][0]}x{sizes[0][1]}"
        raise UserError(f"{where}: a mask of a picture of another size, {text}; draw it again")
    height, width = size or sizes[0]
    mask = np.zeros((height, width), dtype=bool)
    for place, member in members:
        if member.get("shape_type") == "mask":
            _paste(mask, _mask_pixels(place, member), _points(place, member), place)
        else:
            outline = [[value for point in _outline(place, member) for value in point]]
            mask |= draw_mask(outline, (height, width), window=(0, 0, height, width))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise UserError(f"{where}: a mask without a pixel in the picture; draw it again or remove it")
    run_length = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    segmentation = {"size": [height, width], "counts": run_length["counts"].decode("ascii")}
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return DrawnObject(shape["label"], box, segmentation, where)


def _mask_pixels(where: str, shape: dict[str, Any]) -> NDArray[np.bool_]:
    """The mask of a shape, a PNG in base64 which covers its box."""
    with readable(where, "expected a mask as a PNG in base64; draw it again or remove it"):
        content = base64.b64decode(shape["mask"], validate=True)
        try:
            with open_picture(content) as image:
                return np.asarray(image.convert("L")) > 0
        except DECODING_ERRORS as error:
            raise ValueError(str(error)) from error


def _paste(mask: NDArray[np.bool_], pixels: NDArray[np.bool_], points: Sequence[Point], where: str) -> None:
    """Set the pixels that a mask sets; its first point is their corner at the top left."""
    if len(points) != 2:
        raise UserError(f"{where}: a mask of {len(points)} points, expected the 2 corners of its box")
    left, top = (int(value) for value in points[0])
    seen = pixels[max(-top, 0) : max(mask.shape[0] - top, 0), max(-left, 0) : max(mask.shape[1] - left, 0)]
    y, x = max(top, 0), max(left, 0)
    mask[y : y + seen.shape[0], x : x + seen.shape[1]] |= seen
