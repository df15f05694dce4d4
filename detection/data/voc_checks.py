"""What a legal annotation in PASCAL VOC's XML is; the loaders, the doctor and its repairs all ask here."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detection.data.annotations import Problem, fit_only_turned, turned_problem
from foundation.errors import UserError, suggest
from foundation.file_reading import UNREADABLE, parse_xml, why_unreadable
from pictures.annotations.field_checks import FARTHEST, decimal, is_size, shown
from pictures.decoding import image_size, upright_and_stored_size


class XmlForm(NamedTuple):
    """What one family of data sets means by the elements of VOC's XML.

    Corners are inclusive in all of them: with `first_pixel` f the box is (xmin − f, ymin − f, xmax − f + 1,
    ymax − f + 1), which makes a plain IoU equal to that of the devkits with their "+1".
    """

    first_pixel: int  # the number of the first row and of the first column
    names: str  # what <name> holds, and where that is listed; for messages
    spelt: bool  # whether those are words, of which the closest can be what was meant
    lists: str  # the folder of the lists that name annotations; for messages


VOC_FORM = XmlForm(1, "your own stand in classes.txt beside Annotations, one a line", True, "ImageSets/Main")


class VocObject(NamedTuple):
    """One object of an annotation; the box is x1, y1, x2, y2 in pixels, as `XmlForm` says."""

    number: int  # its place in the file, 1 first
    label: int  # 1…K
    box: tuple[float, float, float, float]
    difficult: bool  # not counted, neither as found nor as missed


class VocAnnotation(NamedTuple):
    """What could be read of one picture's XML file; `size` is (height, width), None if it is not usable."""

    size: tuple[int, int] | None
    objects: list[VocObject]
    problems: list[Problem]


def read_annotation(
    path: Path, names: Sequence[str], picture: Path | None = None, form: XmlForm = VOC_FORM
) -> VocAnnotation:
    """One annotation, and everything for which the loader refuses it.

    Args:
        names: what <name> may be, in the order of the labels.
        picture: its file, if it may be looked at: its size counts where none is stated, and boxes that fit it
            only turned by EXIF are a problem.
    """
    root = read_xml(path, form)
    if isinstance(root, Problem):
        return VocAnnotation(None, [], [root])
    stated = read_size(root)
    if picture is not None and not (root.findtext("size/height") or root.findtext("size/width")):
        stated = size_of_file(picture) or stated
    size, problems = (None, [stated]) if isinstance(stated, Problem) else (stated, [])
    objects, found = _read_objects(root, names, size, form)
    if size is not None and picture is not None and not _are_inside(objects, found, size):
        anywhere, others = _read_objects(root, names, None, form)
        if turned := _turned(anywhere, size, picture):
            objects, found = anywhere, [turned, *others]
    return VocAnnotation(size, objects, problems + found)


def _are_inside(objects: Sequence[VocObject], found: Sequence[Problem], size: tuple[int, int]) -> bool:
    return not any(problem.check == "outside_box" for problem in found) and all(
        box[2] <= size[1] and box[3] <= size[0] for _, _, box, _ in objects
    )


def _read_objects(
    root: ET.Element, names: Sequence[str], size: tuple[int, int] | None, form: XmlForm
) -> tuple[list[VocObject], list[Problem]]:
    objects, problems = [], []
    for number, node in enumerate(root.findall("object"), start=1):
        found = read_object(node, number, names, size, form)
        if isinstance(found, VocObject):
            objects.append(found)
        else:
            problems += found
    return objects, problems


def size_of_file(picture: Path) -> tuple[int, int] | None:
    """(height, width) of a picture, None where its file cannot be read."""
    try:
        return image_size(picture)
    except UserError:  # what is wrong with it, those who read it say
        return None


def _turned(objects: Sequence[VocObject], size: tuple[int, int], picture: Path) -> Problem | None:
    """The `turned_problem` of objects read without a size; the file is only opened where boxes ask for it."""
    boxes = np.array([found.box for found in objects], dtype=np.float64).reshape(-1, 4)
    if not fit_only_turned(boxes, size) or not picture.is_file():
        return None
    return turned_problem(boxes, size, *upright_and_stored_size(picture))


def read_xml(path: Path, form: XmlForm = VOC_FORM) -> ET.Element | Problem:
    """The root of an annotation, or why there is none."""
    try:
        return parse_xml(path.read_bytes())
    except FileNotFoundError:
        text = f"missing, though {form.lists} lists {path.stem}; restore it"
    except UNREADABLE as error:
        text = f"{why_unreadable(error)}, expected an XML file; restore it"
    return Problem("malformed_entry", "", text)


def read_size(root: ET.Element) -> tuple[int, int] | Problem:
    """(height, width) of the picture, or what is wrong with them."""
    numbers = _numbers(root, "size/height", "size/width")
    if isinstance(numbers, str):
        return Problem("malformed_entry", "", numbers)
    height, width = numbers
    if is_size(height, width):
        return int(height), int(width)
    text = (
        f"size is {width:.15g}x{height:.15g}, expected the picture's width and height in whole pixels "
        "above 0 and fewer than 2^31 of them"
    )
    return Problem("malformed_entry", "", text)


def read_object(
    node: ET.Element,
    number: int,
    names: Sequence[str],
    size: tuple[int, int] | None,
    form: XmlForm = VOC_FORM,
) -> VocObject | list[Problem]:
    """One object, or everything that is wrong with it.

    Args:
        number: its place in the file, 1 first.
        names: what <name> may be, in the order of the labels.
        size: (height, width) of the picture; where it is not known, a box may lie anywhere.
    """
    where, problems = f"object {number}", []
    name = (node.findtext("name") or "").strip()
    if name not in names:
        text = f"{name!r} is not among the classes ({form.names}){suggest(name, names) if form.spelt else ''}"
        problems.append(Problem("unknown_category", where, text))
    difficult = decimal((node.findtext("difficult") or "").strip() or "0")
    if difficult not in (0, 1):
        text = f"<difficult> is {shown(node.findtext('difficult'))}, expected 0 or 1; enter which it is"
        problems.append(Problem("malformed_entry", where, text))
    numbers = _numbers(node, *(f"bndbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax")))
    if isinstance(numbers, str):
        return [*problems, Problem("malformed_box", where, numbers)]
    xmin, ymin, xmax, ymax = numbers
    height, width = size or (math.inf, math.inf)
    first, turned = form.first_pixel, xmax < xmin or ymax < ymin
    outside = xmin > width - 1 + first or ymin > height - 1 + first or xmax < first or ymax < first
    if turned or outside:
        text = (
            f"box xmin {xmin:g}, ymin {ymin:g}, xmax {xmax:g}, ymax {ymax:g} covers nothing of the "
            f"{width:g}x{height:g} picture; expected {first} <= xmin <= xmax and {first} <= ymin <= ymax: "
            "correct or remove it"
        )
        problems.append(Problem("negative_box" if turned else "outside_box", where, text))
    if problems:
        return problems
    box = (xmin - first, ymin - first, xmax + (1 - first), ymax + (1 - first))
    return VocObject(number, names.index(name) + 1, box, difficult == 1)


def _numbers(node: ET.Element, *names: str) -> list[float] | str:
    """The numbers of these elements, or what is wrong with the first that has none within `FARTHEST`."""
    numbers = []
    for name in names:
        text = (node.findtext(name) or "").strip()
        value = decimal(text)
        if not abs(value) <= FARTHEST:
            return f"<{name}> is {shown(text)}, expected a number of pixels; correct the annotation"
        numbers.append(value)
    return numbers
