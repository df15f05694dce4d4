"""What a legal COCO annotation file is; the loader, the doctor, its repairs and the scorer all ask here.

`problems` finds everything for which a file is refused. The loader and the scorer raise the first, the doctor
lists all.
"""

import logging
import re
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from foundation import file_reading
from foundation.errors import UserError, plural
from pictures.annotations.field_checks import (
    Problem,
    all_known,
    are_bad_boxes,
    are_far_boxes,
    as_boxes,
    bad_box,
    is_area,
    is_flag,
    is_id,
    is_known,
    is_size,
    is_text,
    is_whole,
    shown,
    unknown_id,
)
from pictures.decoding import image_size
from pictures.file_names import find_file

_log = logging.getLogger(__name__)

# The sections of a file, and the fields that every entry needs.
FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}
# Fields with a rule of their own, and in words what it asks for; null counts where a field is not needed.
_RULES: dict[str, dict[str, tuple[Callable[[Any], bool], str]]] = {
    "images": {
        "id": (is_id, "a whole number or text; renumber them"),
        "file_name": (is_text, "the name of the picture's file as text; enter it"),
    },
    "categories": {
        "id": (is_whole, "a whole number; renumber them"),
        "name": (is_text, "the name of the class as text; enter it"),
    },
    "annotations": {
        "id": (is_id, "a whole number or text; renumber them"),
        "iscrowd": (is_flag, "the number 0 or 1; enter 0 unless its box is around a crowd"),
        "area": (is_area, "a number of square pixels of at least 0; enter it or leave the field out"),
    },
}
# Fields of whole numbers, which other programs write as floats.
_WHOLE = {
    "images": ("id", "height", "width"),
    "categories": ("id",),
    "annotations": ("id", "image_id", "category_id", "iscrowd"),
}
_COCOS_OWN = re.compile(r"(instances|image_info)_[a-z-]+20\d\d\.json")
_SINGULAR = {"images": "image", "categories": "category", "annotations": "annotation"}
_Entries = list[tuple[int, dict[str, Any]]]


def read_json(path: str | Path) -> Any:
    """The content of a JSON file; UserError where it is missing or not JSON."""
    remedy = "expected a COCO JSON there: write it again"
    if _COCOS_OWN.fullmatch(Path(path).name):
        remedy += (
            ", or get COCO's own annotations from https://cocodataset.org/#download and unpack them so that "
            "this path exists"
        )
    return file_reading.read_json(Path(path), remedy)


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
    """The content as the checks expect it.

    It has an empty list of annotations where it has none, as image_info_test-dev2017.json, and whole numbers
    as of `plain_numbers`.
    """
    if isinstance(content, dict) and "images" in content and "annotations" not in content:
        _log.warning("%s lists no annotations: every picture counts as without objects", where)
        content = {**content, "annotations": []}
    return plain_numbers(content)


def plain_numbers(content: Any) -> Any:
    """The content with 1 for 1.0 in ids, sizes and `iscrowd`: to JSON both are the same number."""
    changed = {}
    for section, fields in _WHOLE.items():
        entries = section_of(content, section)
        if any(float in set(map(type, _column(entries, field))) for field in fields):
            changed[section] = [_plain_entry(entry, fields) for entry in entries]
    return {**content, **changed} if changed else content


def _column(entries: Sequence[Any], field: str) -> list[Any]:
    """A field of all entries, None where it is missing."""
    try:
        return list(map(itemgetter(field), entries))  # four times as fast as what follows
    except (KeyError, TypeError, IndexError):
        return [entry.get(field) if isinstance(entry, dict) else None for entry in entries]


def _plain_entry(entry: Any, fields: Sequence[str]) -> Any:
    if not isinstance(entry, dict):
        return entry
    floats = [field for field in fields if isinstance(entry.get(field), float)]
    return {**entry, **{field: int(entry[field]) for field in floats if is_whole(entry[field])}}


def with_sizes(content: Any, pictures: Path, where: str) -> Any:
    """The content with the upright size of its file for every picture that states none, or half of one."""
    entries = section_of(content, "images")
    without = [row for row, image in enumerate(entries) if _is_without_size(image)]
    if not without:
        return content
    _log.warning("%s states no size of %s: that of the file is taken", where, plural(len(without), "picture"))
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
        and is_text(image.get("file_name"))
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
    """(height, width) of an entry of `images`; None unless a picture can have that size."""
    height, width = image["height"], image["width"]
    return (height, width) if is_size(height, width) else None


def problems(content: Any) -> Iterator[Problem]:
    """Everything for which a file is refused, in the order of its entries.

    Sections or fields are missing, ids stand twice or refer to nothing, pictures have no size, boxes are not
    [x, y, width, height] with finite numbers and sizes of at least 0, or a field is not what `_RULES` ask
    for. Whatever has no problem can be used. Whole numbers must be as of `plain_numbers`.
    """
    if _is_sound(content):
        return
    images = yield from _entry_problems(content, "images")
    categories = yield from _entry_problems(content, "categories")
    annotations = yield from _entry_problems(content, "annotations")
    for _, image in images:
        if stated_size(image) is None:
            text = (
                f"size is {shown(image['width'])}x{shown(image['height'])} (width x height), expected whole "
                "pixels above 0 and fewer than 2^31 of them"
            )
            yield Problem("malformed_entry", f"image {image['id']}", f"{text}; enter the size of its file")
    references = (
        ("unknown_image", "image_id", {image["id"] for _, image in images}),
        ("unknown_category", "category_id", {category["id"] for _, category in categories}),
    )
    boxes = as_boxes([entry["bbox"] for _, entry in annotations])
    bad = are_bad_boxes(boxes)
    for number, (index, entry) in enumerate(annotations):
        where, row = f"annotation {entry['id']}", ("annotations", index)
        for check, field, known in references:
            if not is_known(entry[field], known):
                yield Problem(check, where, unknown_id(entry[field], field, known), row)
        if bad[number]:
            check = "malformed_box" if are_far_boxes(boxes[number]) else "negative_box"
            yield Problem(check, where, bad_box(entry["bbox"]), row)


def _is_sound(content: Any) -> bool:
    """Whether nothing is wrong, without saying what; quick, for the many files with which nothing is."""
    if not isinstance(content, dict):
        return False
    sections = {section: sound_columns(content.get(section), section) for section in FIELDS}
    images, categories, annotations = (sections[section] for section in FIELDS)
    if images is None or categories is None or annotations is None:
        return False
    return (
        all(map(stated_size, content["images"]))
        and all_known(annotations["image_id"], set(images["id"]))
        and all_known(annotations["category_id"], set(categories["id"]))
        and not are_bad_boxes(as_boxes(annotations["bbox"])).any()
    )


def sound_columns(entries: Any, section: str) -> dict[str, list[Any]] | None:
    """The needed fields of a section's entries if nothing is wrong with it by itself, as `_is_sound`."""
    if not isinstance(entries, list) or set(map(type, entries)) - {dict}:
        return None
    try:
        columns = {field: list(map(itemgetter(field), entries)) for field in FIELDS[section]}
    except KeyError:
        return None
    for field, (check, _) in _RULES[section].items():
        if not _column_passes(columns.get(field) or _column(entries, field), check):
            return None
    return columns if len(set(columns["id"])) == len(entries) else None


def _column_passes(values: Sequence[Any], check: Callable[[Any], bool]) -> bool:
    """Whether all values pass a check of `_RULES`, the commonest types without a call for each."""
    kinds = set(map(type, values))
    if kinds == {int} and check in (is_id, is_whole):
        return True
    if kinds == {int} and check is is_flag:
        return set(values) <= {0, 1}
    if kinds == {float} and check is is_area:
        return is_area(min(values)) and is_area(max(values)) and not np.isnan(values).any()
    return all(map(check, values))


def _entry_problems(content: Any, section: str) -> Generator[Problem, None, _Entries]:
    """Yields the problems of a section by itself; returns the entries without one, and their rows."""
    entries, names = content.get(section) if isinstance(content, dict) else None, FIELDS[section]
    if not isinstance(entries, list):
        text = f"expected a COCO file with lists named {', '.join(FIELDS)}; {section} is missing"
        yield Problem("malformed_entry", "", text)
        return []
    usable: _Entries = []
    seen: set[Hashable] = set()
    for index, entry in enumerate(entries):
        check, where = "malformed_entry", f"{section}[{index}]"
        missing = [name for name in names if not isinstance(entry, dict) or name not in entry]
        wrong = (
            [] if missing else [f for f, (passes, _) in _RULES[section].items() if not passes(entry.get(f))]
        )
        if missing:
            text = f"{', '.join(missing)} missing; every entry needs {', '.join(names)}"
        elif wrong:
            text = f"{wrong[0]} is {shown(entry[wrong[0]])}, expected {_RULES[section][wrong[0]][1]}"
            where = where if wrong[0] == "id" else f"{_SINGULAR[section]} {entry['id']}"
        elif entry["id"] in seen:
            check = f"duplicate_{_SINGULAR[section]}_id"
            text = f"id {entry['id']} stands twice; ids must be unique: renumber one of them"
        else:
            seen.add(entry["id"])
            usable.append((index, entry))
            continue
        yield Problem(check, where, text, (section, index))
    return usable
