"""VIA's regions (VGG Image Annotator 1 and 2), from its JSON or from the cells of its table."""

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detection.data.annotations import Problem
from detection.layouts.drawn_objects import (
    DrawnPicture,
    Point,
    drawn,
    ellipse,
    gathered,
    numbers,
    polygon,
    rectangle,
)
from foundation.errors import UserError
from foundation.file_reading import read_json, readable
from pictures.annotations.field_checks import is_text, shown

_log = logging.getLogger(__name__)

_UNFILLED = ("point", "polyline", "line")
# An attribute of one of these names is the class, where regions have several; the first counts.
_CLASS_NAMES = ("class", "label", "category", "name", "type", "object")
_EXPECTED = (
    "expected a project of VIA 2 or its exported JSON, whose entries have filename and regions; of VIA 3 "
    "export COCO and take data.kind=coco"
)


class Region(NamedTuple):
    """One region: where it stands, for messages, and its attributes of shape and of meaning."""

    where: str
    shape: Any
    attributes: Any


def read_via_json(file: Path) -> dict[str, list[Region]]:
    """The regions of every picture in a project of VIA or its exported JSON, by the picture's name.

    Raises:
        UserError: it is no such file, or a picture stands in it twice.
    """
    content = read_json(file, _EXPECTED)
    if isinstance(content, dict):
        content = content.get("_via_img_metadata", content)
    if not isinstance(content, dict) or not all(map(_is_entry, content.values())):
        raise UserError(f"{file}: is no JSON of VIA; {_EXPECTED}")
    pictures: dict[str, list[Region]] = {}
    for entry in content.values():
        name, regions = entry["filename"], entry["regions"]
        if name in pictures:
            raise UserError(f"{file}: picture {name!r} has two entries; join them into one")
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        pictures[name] = [
            Region(f"{file}: {name}: region {n}", r.get("shape_attributes"), r.get("region_attributes"))
            for n, r in enumerate(regions, start=1)
        ]
    return pictures


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not is_text(entry.get("filename")):
        return False
    regions = entry.get("regions")
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    return isinstance(regions, list) and all(isinstance(region, dict) for region in regions)


def parse_cell(text: str, where: str) -> Any:
    """The JSON in a cell of VIA's table."""
    with readable(where, "expected JSON in the cells, as VIA exports them; export the table again"):
        return json.loads(text or "{}")


def drawn_regions(
    pictures: Mapping[str, Sequence[Region]],
    classes: Sequence[str] | None,
    source: str,
    problems: list[Problem] | None = None,
) -> list[DrawnPicture]:
    """The objects of regions; points and lines are none, and are left out and counted in the log.

    The class is the attribute that all regions have, or the one called class, label, category, name or type.
    Regions without any are of the only one of `classes`, if there is only one. Faults of single regions are
    gathered in `problems`; without it the first is raised.

    Raises:
        UserError: a region's shape or class is none that can be read.
    """
    every = [region for regions in pictures.values() for region in regions]
    key = _class_attribute(every, source)
    only = classes[0] if classes is not None and len(classes) == 1 else None
    left_out: Counter[str] = Counter()
    found = []
    for name, regions in pictures.items():
        objects = []
        for region in regions:
            kind = region.shape.get("name") if isinstance(region.shape, dict) else None
            if kind in _UNFILLED:
                left_out[str(kind)] += 1
                continue
            with gathered(problems, region.where):
                outline = _outline(region, kind)
                objects.append(drawn(_label(region, key, only), [outline], region.where))
        found.append(DrawnPicture(name, None, objects))
    if left_out:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        _log.warning("%s: regions that are no objects are left out: %s", source, kinds)
    return found


def _class_attribute(regions: Sequence[Region], source: str) -> str | None:
    """The name of the attribute that is the class; None where no region has any."""
    counts: Counter[str] = Counter()
    for region in regions:
        if not isinstance(region.attributes, dict):
            text = f"its attributes are {shown(region.attributes)}, expected names and values"
            raise UserError(f"{region.where}: {text}; {_EXPECTED}")
        counts.update(list(region.attributes))
    names = {name.strip().lower(): name for name in reversed(list(counts))}
    known = [names[name] for name in _CLASS_NAMES if name in names]
    if len(counts) > 1 and not known:
        listed = ", ".join(map(repr, list(counts)[:8]))
        text = f"the regions have the attributes {listed}, and none is called {', '.join(_CLASS_NAMES)}"
        raise UserError(f"{source}: {text}; call the one that is the class so in VIA")
    return known[0] if known else next(iter(counts), None)


def _label(region: Region, key: str | None, only: str | None) -> str:
    """The class of a region; of a checkbox the one that is ticked."""
    value = None if key is None else region.attributes.get(key)
    if isinstance(value, dict):
        ticked = [option for option, is_set in value.items() if is_set]
        value = ticked[0] if len(ticked) == 1 else value
    if value in (None, "") and only is not None:
        return only
    if not is_text(value):
        what = "no attribute" if key is None else f"the attribute {key!r} {shown(value)}"
        text = f"a region has {what}, expected the name of its class as text"
        raise UserError(f"{region.where}: {text}; enter it in VIA, or name the only class with data.classes")
    return str(value).strip()


def _outline(region: Region, kind: Any) -> list[Point]:
    shape, where = region.shape, region.where

    def values(*names: str) -> list[float]:
        return [numbers([shape.get(name)], 1, where, name)[0] for name in names]

    if kind == "rect":
        x, y, width, height = values("x", "y", "width", "height")
        return rectangle(x, y, x + width, y + height)
    if kind == "circle":
        x, y, radius = values("cx", "cy", "r")
        return ellipse(x, y, radius, radius)
    if kind == "ellipse":
        x, y, across, down = values("cx", "cy", "rx", "ry")
        (turn,) = values("theta") if "theta" in shape else (0.0,)
        return ellipse(x, y, across, down, math.remainder(turn, 2 * math.pi))
    if kind == "polygon":
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        count = len(xs) if isinstance(xs, list) else 0
        xs, ys = numbers(xs, count, where, "all_points_x"), numbers(ys, count, where, "all_points_y")
        return polygon(list(zip(xs, ys, strict=True)), where)
    text = f"its shape is {shown(kind)}, expected rect, polygon, circle or ellipse"
    raise UserError(f"{where}: {text}; draw it again or remove it")
