"""Which columns of a table of boxes mean what, by the names that people's tools give them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from foundation.errors import UserError
from pictures.annotations.field_checks import decimal

# Names in small letters without blanks, dashes and underscores, the commonest first.
_NAMES = {
    "file": (
        "file",
        "filename",
        "image",
        "imagename",
        "imagepath",
        "imagefile",
        "filepath",
        "path",
        "picture",
    ),
    "label": ("label", "class", "classname", "labelname", "category", "categoryname"),
    "xmin": ("xmin", "x1", "left", "bboxxmin"),
    "ymin": ("ymin", "y1", "top", "bboxymin"),
    "xmax": ("xmax", "x2", "right", "bboxxmax"),
    "ymax": ("ymax", "y2", "bottom", "bboxymax"),
    "x": ("x", "bboxx"),
    "y": ("y", "bboxy"),
    "w": ("w", "bboxwidth", "bboxw", "boxwidth"),
    "h": ("h", "bboxheight", "bboxh", "boxheight"),
    "width": ("width", "imagewidth", "imgwidth"),
    "height": ("height", "imageheight", "imgheight"),
}
_CORNERS, _SIZED = ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "w", "h")
_HEADERLESS = ("file", *_CORNERS, "label")  # keras-retinanet's order
EXPECTED = (
    "expected a header with the columns file, xmin, ymin, xmax, ymax, label (or x, y, w, h for the box, or "
    "other tools' names: filename, class, x1, …), or these six in this order without a header"
)


class RegionColumns(NamedTuple):
    """The columns of VIA's own table, which has JSON in its cells."""

    file: int
    shape: int
    attributes: int


@dataclass(frozen=True)
class Columns:
    """Where the values of a box stand in a row.

    Attributes:
        file, label: their columns.
        box: the four columns of the box.
        sized: whether the third and fourth are its width and height, not its far corner.
        size: the columns of the picture's height and width, where there are any.
        header: whether the first row names the columns.
    """

    file: int
    label: int
    box: tuple[int, int, int, int]
    sized: bool = False
    size: tuple[int, int] | None = None
    header: bool = True


def find_columns(first: Sequence[str], where: str) -> Columns | RegionColumns:
    """The columns that the first row of a table names, or those of a table that names none.

    Raises:
        UserError: a column is missing or named twice.
    """
    plain = [re.sub(r"[\s_#-]", "", name).lower() for name in first]
    if {"regionshapeattributes", "regionattributes", "filename"} <= set(plain):
        return RegionColumns(
            *(plain.index(n) for n in ("filename", "regionshapeattributes", "regionattributes"))
        )
    if len(first) == len(_HEADERLESS) and _are_box_fields(first[1:5]):
        return Columns(0, 5, (1, 2, 3, 4), header=False)
    place = {}
    for meaning, names in _NAMES.items():
        columns = [index for name in names for index, column in enumerate(plain) if column == name]
        if len({plain[index] for index in columns[:2]}) < len(columns[:2]):
            raise UserError(f"{where}: two columns are called {first[columns[0]]!r}; remove one of them")
        if columns:
            place[meaning] = columns[0]
    if {"x", "y", "width", "height"} <= set(place) and not {"w", "h", "xmax", "ymax"} & set(place):
        place["w"], place["h"] = place.pop("width"), place.pop("height")
    sized = not set(_CORNERS) <= set(place) and set(_SIZED) <= set(place)
    missing = [name for name in ("file", "label", *(_SIZED if sized else _CORNERS)) if name not in place]
    if missing:
        text = f"no column for {', '.join(missing)} in {', '.join(map(repr, first[:12]))}"
        raise UserError(f"{where}: {text}; {_other_export(first, plain) or EXPECTED}")
    x, y, right, bottom = (place[name] for name in (_SIZED if sized else _CORNERS))
    size = (place["height"], place["width"]) if {"height", "width"} <= set(place) else None
    return Columns(place["file"], place["label"], (x, y, right, bottom), sized, size)


def _other_export(first: Sequence[str], plain: Sequence[str]) -> str:
    """What to export instead of tables that are known and hold something else; "" of unknown ones."""
    if "annotationid" in plain or "annotator" in plain:
        return "Label Studio's CSV has its boxes as JSON: export COCO or YOLO there, and take that data.kind"
    if "VGG Image Annotator" in "".join(first[:1]):
        return "VIA 3 writes other tables than VIA 2: export COCO there, and take data.kind=coco"
    return ""


def _are_box_fields(fields: Sequence[str]) -> bool:
    """Whether these are four numbers, or all empty."""
    values = [decimal(field.strip()) for field in fields]
    return all(value == value for value in values) or not any(field.strip() for field in fields)
