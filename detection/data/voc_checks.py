"""What a legal annotation of PASCAL VOC is; the loader, the doctor and its repairs all ask here."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detection.data.annotations import Problem
from detection.field_checks import FARTHEST, decimal, is_size, shown
from foundation.errors import suggest
from foundation.file_reading import UNREADABLE, parse_xml, why_unreadable


class VocObject(NamedTuple):
    """One object of an annotation.

    The box is x1, y1, x2, y2 in pixels. The file's are 1-based and inclusive; (xmin − 1, ymin − 1, xmax,
    ymax) makes a plain IoU equal to the devkit's with its "+1".
    """

    number: int  # its place in the file, 1 first
    label: int  # 1…K
    box: tuple[float, float, float, float]
    difficult: bool  # not counted, neither as found nor as missed


class VocAnnotation(NamedTuple):
    """What could be read of one picture's XML file; `size` is (height, width), None if it is not usable."""

    size: tuple[int, int] | None
    objects: list[VocObject]
    problems: list[Problem]


def read_annotation(path: Path, classes: Sequence[str]) -> VocAnnotation:
    """One annotation, and everything for which the loader refuses it."""
    root = read_xml(path)
    if isinstance(root, Problem):
        return VocAnnotation(None, [], [root])
    stated = read_size(root)
    size, problems = (None, [stated]) if isinstance(stated, Problem) else (stated, [])
    objects = []
    for number, node in enumerate(root.findall("object"), start=1):
        found = read_object(node, number, classes, size)
        if isinstance(found, VocObject):
            objects.append(found)
        else:
            problems += found
    return VocAnnotation(size, objects, problems)


def read_xml(path: Path) -> ET.Element | Problem:
    """The root of an annotation, or why there is none."""
    try:
        return parse_xml(path.read_bytes())
    except FileNotFoundError:
        text = f"missing, though ImageSets/Main lists {path.stem}; restore it"
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
    node: ET.Element, number: int, classes: Sequence[str], size: tuple[int, int] | None
) -> VocObject | list[Problem]:
    """One object, or everything that is wrong with it.

    Args:
        number: its place in the file, 1 first.
        size: (height, width) of the picture; where it is not known, a box may lie anywhere.
    """
    where, problems = f"object {number}", []
    name = (node.findtext("name") or "").strip()
    if name not in classes:
        text = f"{name!r} is not among the classes{suggest(name, classes)}"
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
    turned = xmax < xmin or ymax < ymin
    if turned or xmin > width or ymin > height or xmax < 1 or ymax < 1:
        text = (
            f"box xmin {xmin:g}, ymin {ymin:g}, xmax {xmax:g}, ymax {ymax:g} covers nothing of the "
            f"{width:g}x{height:g} picture; expected 1 <= xmin <= xmax and 1 <= ymin <= ymax: correct or "
            "remove it"
        )
        problems.append(Problem("negative_box" if turned else "outside_box", where, text))
    if problems:
        return problems
    return VocObject(number, classes.index(name) + 1, (xmin - 1, ymin - 1, xmax, ymax), difficult == 1)


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
