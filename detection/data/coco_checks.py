"""What a legal COCO annotation file is; the loader, the doctor, its repairs and the scorer all ask here.

`problems` finds everything for which a file is refused. The loader and the scorer raise the first, the doctor
lists all.
"""

import logging
import sys
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.data.annotations import Problem
from foundation import file_reading
from foundation.errors import UserError
from pictures.decoding import image_size
from pictures.file_names import find_file

_log = logging.getLogger(__name__)

# The sections of a file, and the fields that every entry needs.
FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}
_Entries = list[tuple[int, dict[str, Any]]]


def read_json(path: str | Path) -> Any:
    """The content of a JSON file; UserError where it is missing or not JSON."""
    return file_reading.read_json(
        Path(path),
        "expected a COCO JSON there: write it again, or get COCO's own annotations from "
        "https://cocodataset.org/#download and unpack them so that this path exists",
    )


def read_coco(path: str | Path, pictures: Path | None = None) -> dict[str, Any]:
    """An annotation file, checked as `check_coco` does.

    `annotations` may be missing, and with a folder of `pictures` also their sizes.
    """
    content = with_annotations(read_json(path), str(path))
    if pictures is not None:
        content = with_sizes(content, pictures, str(path))
    check_coco(content, str(path))
    return content


def with_annotations(content: Any, where: str) -> Any:
    """The content with an empty list of annotations where it has none, as image_info_test-dev2017.json."""
    if not isinstance(content, dict) or "images" not in content or "annotations" in content:
        return content
    _log.warning("%s lists no annotations: every picture counts as without objects", where)
    return {**content, "annotations": []}


def with_sizes(content: Any, pictures: Path, where: str) -> Any:
    """The content with the upright size of its file for every picture that states none, or half of one."""
    entries = section_of(content, "images")
    without = [row for row, image in enumerate(entries) if _is_without_size(image)]
    if not without:
        return content
    _log.warning("%s states no size of %d pictures: that of their files is taken", where, len(without))
    images = list(entries)
    for row in without:
        try:
            height, width = image_size(find_file(pictures, images[row]["file_name"]))
        except UserError:
            continue  # an entry without a size is refused, and says where to look
        stated = {side: value for side, value in images[row].items() if value is not None}
        images[row] = {"height": height, "width": width, **stated}
    return {**content, "images": images}


def _is_without_size(image: Any) -> bool:
    """Whether an entry names a file and not both sides."""
    return (
        isinstance(image, dict)
        and (image.get("height") is None or image.get("width") is None)
        and isinstance(image.get("file_name"), str)
    )


def check_coco(content: Any, where: str) -> None:
    """Refuse an annotation file with a UserError of the first of its `problems`."""
    for problem in problems(content):
        raise problem.error(where)


def section_of(content: Any, section: str) -> list[Any]:
    """The entries of a section, none where it is missing."""
    entries = content.get(section) if isinstance(content, dict) else None
    return entries if isinstance(entries, list) else []


def stated_size(image: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width) of an entry of `images`; None unless both are whole numbers above 0."""
    height, width = image["height"], image["width"]
    whole = isinstance(height, int) and isinstance(width, int) and bool not in (type(height), type(width))
    return (height, width) if whole and height > 0 and width > 0 else None


def problems(content: Any) -> Iterator[Problem]:
    """Everything for which a file is refused, in the order of its entries.

    Sections or fields are missing, ids stand twice, refer to nothing or are neither whole numbers nor text
    (of categories: no whole numbers), pictures have no size, or boxes are not [x, y, width, height] with
    finite numbers and sizes of at least 0. Whatever has no problem can be used.
    """
    if _is_sound(content):
        return
    images = yield from _entry_problems(content, "images")
    categories = yield from _entry_problems(content, "categories")
    annotations = yield from _entry_problems(content, "annotations")
    for _, image in images:
        if stated_size(image) is None:
            text = (
                f"size is {image['width']}x{image['height']} (width x height), expected whole pixels above 0"
            )
            yield Problem("malformed_entry", f"image {image['id']}", f"{text}; enter the size of its file")
    references = (
        ("unknown_image", "image_id", {image["id"] for _, image in images}),
        ("unknown_category", "category_id", {category["id"] for _, category in categories}),
    )
    boxes = _as_numbers([entry["bbox"] for _, entry in annotations])
    bad = _are_bad(boxes)
    for number, (index, entry) in enumerate(annotations):
        where, row = f"annotation {entry['id']}", ("annotations", index)
        for check, field, known in references:
            if not _all_known([entry[field]], known):
                yield Problem(check, where, _unknown(entry[field], field, known), row)
        if bad[number]:
            check = "negative_box" if np.isfinite(boxes[number]).all() else "malformed_box"
            yield Problem(check, where, _bad_box(entry["bbox"]), row)


def _is_sound(content: Any) -> bool:
    """Whether nothing is wrong, without saying what; quick, for the many files with which nothing is."""
    if not isinstance(content, dict):
        return False
    ids = {}
    for section, names in FIELDS.items():
        try:
            ids[section] = [first for first, *_ in map(itemgetter("id", *names), content[section])]
        except (KeyError, TypeError):
            return False
        kinds = {int} if section == "categories" else {int, str}
        if not isinstance(content[section], list) or not set(map(type, ids[section])) <= kinds:
            return False
        if len(set(ids[section])) < len(ids[section]):
            return False
    annotations = content["annotations"]
    return (
        all(map(stated_size, content["images"]))
        and _all_known([entry["image_id"] for entry in annotations], set(ids["images"]))
        and _all_known([entry["category_id"] for entry in annotations], set(ids["categories"]))
        and not _are_bad(_as_numbers([entry["bbox"] for entry in annotations])).any()
    )


def _entry_problems(content: Any, section: str) -> Generator[Problem, None, _Entries]:
    """Yields the problems of a section by itself; returns the entries without one, and their rows."""
    entries, names = content.get(section) if isinstance(content, dict) else None, FIELDS[section]
    if not isinstance(entries, list):
        text = f"expected a COCO file with lists named {', '.join(FIELDS)}; {section} is missing"
        yield Problem("malformed_entry", "", text)
        return []
    kinds, expected = (int, "") if section == "categories" else (int | str, " or text")
    usable: _Entries = []
    seen: set[Hashable] = set()
    for index, entry in enumerate(entries):
        check = "malformed_entry"
        missing = [name for name in names if not isinstance(entry, dict) or name not in entry]
        if missing:
            text = f"{', '.join(missing)} missing; every entry needs {', '.join(names)}"
        elif not isinstance(entry["id"], kinds) or isinstance(entry["id"], bool):
            text = f"id is {entry['id']!r}, expected a whole number{expected}; renumber them"
        elif entry["id"] in seen:
            check = f"duplicate_{'category' if section == 'categories' else section[:-1]}_id"
            text = f"id {entry['id']} stands twice; ids must be unique: renumber one of them"
        else:
            seen.add(entry["id"])
            usable.append((index, entry))
            continue
        yield Problem(check, f"{section}[{index}]", text, (section, index))
    return usable


def check_known(values: Sequence, known: set, field: str, name: Callable[[int], str]) -> None:
    """Refuse the first value that is not known with a UserError; `name(index)` says where it stands."""
    if not _all_known(values, known):
        index = next(i for i, value in enumerate(values) if not _all_known([value], known))
        raise UserError(f"{name(index)}: {_unknown(values[index], field, known)}")


def _all_known(values: Sequence, known: set) -> bool:
    hashable = all(issubclass(kind, Hashable) for kind in set(map(type, values)))
    return hashable and known.issuperset(values)


def _unknown(value: Any, field: str, known: set) -> str:
    examples = ", ".join(str(value) for value in sorted(known, key=str)[:5])
    return (
        f"{field} {value!r} is not in the annotation file, which has {len(known)} "
        f"({examples}{', …' if len(known) > 5 else ''}); correct or remove the entry"
    )


def xywh_boxes(entries: Sequence[dict[str, Any]], name: Callable[[int], str]) -> NDArray[np.float64]:
    """The `bbox` of every entry, (T, 4) x, y, width, height; `name(index)` says where a wrong one stands.

    Raises:
        UserError: one is not four finite numbers, or has a negative size.
    """
    rows = [entry["bbox"] for entry in entries]
    boxes = _as_numbers(rows)
    for index in np.flatnonzero(_are_bad(boxes))[:1]:
        raise UserError(f"{name(index)}: {_bad_box(rows[index])}")
    return boxes


def _bad_box(value: Any) -> str:
    return (
        f"bbox is {value}, expected [x, y, width, height] in pixels with finite numbers and sizes of at "
        "least 0; correct or remove the entry"
    )


def _are_bad(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < 0).any(axis=1))


def _as_numbers(rows: Sequence[Any]) -> NDArray[np.float64]:
    """Boxes (T, 4); NaN where one is not a list of four numbers."""
    whole = set(map(type, rows)) <= {list, tuple} and set(map(len, rows)) <= {4}
    # One flat list becomes an array three times as fast as rows do; text or None in it shows in the type.
    boxes = np.array(list(chain.from_iterable(rows)) if whole and rows else [np.nan] * 4 * len(rows))
    if boxes.dtype.kind not in "iuf" or not whole:  # find out which row is to blame
        boxes = np.array([row if _has_four_numbers(row) else [np.nan] * 4 for row in rows])
    return boxes.astype(np.float64).reshape(-1, 4)


def _has_four_numbers(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return row.shape == (4,) and row.dtype.kind in "iuf"
    return (
        isinstance(row, list | tuple)
        and len(row) == 4
        and all(isinstance(n, int | float) and not abs(n) > sys.float_info.max for n in row)
    )
