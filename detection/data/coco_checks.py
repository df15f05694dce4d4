"""COCO's JSON: read and checked entry by entry before anything is learnt or scored from it."""

import json
import logging
from collections.abc import Callable, Hashable, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError

_log = logging.getLogger(__name__)

_FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: the file is missing or not JSON.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(
            f"{path}: no such file; expected a COCO JSON there. COCO's own annotations come from "
            "https://cocodataset.org/#download, to be unpacked so that this path exists"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error}); write or download it again") from error


def read_coco(path: str | Path) -> dict[str, Any]:
    """A checked annotation file; see `checked_coco`."""
    return checked_coco(read_json(path), str(path))


def checked_coco(content: Any, where: str) -> dict[str, Any]:
    """The content of an annotation file, checked as `check_coco` does; `annotations` may be missing."""
    if isinstance(content, dict) and "images" in content and "annotations" not in content:
        # As COCO's own image_info_test-dev2017.json: pictures to predict on.
        _log.warning("%s lists no annotations: every picture counts as without objects", where)
        content = {**content, "annotations": []}
    check_coco(content, where)
    return content


def check_coco(content: Any, where: str) -> None:
    """Refuse an annotation file that would train or score something else than its author meant.

    Raises:
        UserError: a section or field is missing, an id stands twice or refers to nothing, a picture has no
            size, a box is not [x, y, width, height] with sizes of at least 0, an id is neither a whole number
            nor text (categories: not a whole number).
    """
    for section, names in _FIELDS.items():
        entries = content.get(section) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UserError(
                f"{where}: expected a COCO file with lists named {', '.join(_FIELDS)}; {section} is missing"
            )
        id_type = int if section == "categories" else (int, str)
        _check_entries(entries, names, id_type, f"{where}: {section}")
    for image in content["images"]:
        if not all(isinstance(image[side], int) and image[side] > 0 for side in ("height", "width")):
            raise UserError(
                f"{where}: image {image['id']} is {image['width']}x{image['height']} (width x height), "
                "expected whole pixels above 0; enter the size of its file"
            )
    annotations = content["annotations"]
    for field, section in (("image_id", "images"), ("category_id", "categories")):
        check_known(
            [annotation[field] for annotation in annotations],
            {entry["id"] for entry in content[section]},
            field,
            lambda index: f"{where}: annotation {annotations[index]['id']}",
        )
    xywh_boxes(annotations, lambda index: f"{where}: annotation {annotations[index]['id']}")


def check_known(values: Sequence, known: set, field: str, name: Callable[[int], str]) -> None:
    """Refuse the first value that is not known; `name(index)` says where it stands."""
    hashable = all(issubclass(kind, Hashable) for kind in set(map(type, values)))
    if hashable and known.issuperset(values):
        return
    unknown = next(
        (i for i, value in enumerate(values) if not isinstance(value, Hashable) or value not in known), None
    )
    if unknown is not None:
        examples = ", ".join(str(value) for value in sorted(known, key=str)[:5])
        raise UserError(
            f"{name(unknown)}: {field} {values[unknown]!r} is not in the annotation file, "
            f"which has {len(known)} ({examples}{', …' if len(known) > 5 else ''}); "
            "correct or remove the entry"
        )


def xywh_boxes(entries: Sequence[dict[str, Any]], name: Callable[[int], str]) -> NDArray[np.float64]:
    """The `bbox` of every entry, (T, 4) x, y, width, height; `name(index)` says where a wrong one stands."""
    rows = [entry["bbox"] for entry in entries]
    whole = set(map(type, rows)) <= {list, tuple} and set(map(len, rows)) <= {4}
    # One flat list becomes an array three times as fast as rows do; text or None in it shows in the type.
    boxes = np.array(list(chain.from_iterable(rows)) if whole and rows else [np.nan] * 4 * len(rows))
    if boxes.dtype.kind not in "iuf" or not whole:  # find out which row is to blame
        boxes = np.array([row if _has_four_numbers(row) else [np.nan] * 4 for row in rows])
    boxes = boxes.astype(np.float64).reshape(-1, 4)
    wrong = np.flatnonzero(~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < 0).any(axis=1))
    if len(wrong):
        raise UserError(
            f"{name(wrong[0])}: bbox is {rows[wrong[0]]}, expected [x, y, width, height] in pixels with "
            "finite numbers and sizes of at least 0; correct or remove the entry"
        )
    return boxes


def _has_four_numbers(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return row.shape == (4,) and row.dtype.kind in "iuf"
    return (
        isinstance(row, list | tuple)
        and len(row) == 4
        and all(isinstance(number, int | float) for number in row)
    )


def _all_whole(entries: list[Any], names: tuple[str, ...], id_type: type | tuple[type, ...]) -> bool:
    """Whether nothing is wrong, without saying what; quick, for the many files with which nothing is."""
    try:
        ids = [identifier for identifier, *_ in map(itemgetter("id", *names), entries)]
    except (KeyError, TypeError):
        return False
    return all(issubclass(kind, id_type) for kind in set(map(type, ids))) and len(set(ids)) == len(ids)


def _check_entries(
    entries: list[Any], names: tuple[str, ...], id_type: type | tuple[type, ...], where: str
) -> None:
    if _all_whole(entries, names, id_type):
        return
    seen = set()
    for index, entry in enumerate(entries):
        missing = [name for name in names if not isinstance(entry, dict) or name not in entry]
        if missing:
            raise UserError(
                f"{where}[{index}]: {', '.join(missing)} missing; every entry needs {', '.join(names)}"
            )
        if not isinstance(entry["id"], id_type):
            expected = "a whole number" if id_type is int else "a whole number or text"
            raise UserError(f"{where}[{index}]: id is {entry['id']!r}, expected {expected}; renumber them")
        if entry["id"] in seen:
            raise UserError(
                f"{where}[{index}]: id {entry['id']} stands twice; ids must be unique: renumber one of them"
            )
        seen.add(entry["id"])
