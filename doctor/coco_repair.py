"""A COCO file made fit for the loaders: what cannot be used is left out, what can be corrected is."""

import copy
import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from doctor.coco_survey import FIELDS, bad_box, damaged_segmentations, entry_problem, stated_size
from doctor.picture_checks import Facts
from doctor.survey import Survey
from foundation.errors import UserError

Changes = list[str]
Entries = list[dict[str, Any]]


def write_repaired(survey: Survey, facts: Sequence[Facts], out: Path) -> Changes:
    """Writes the repaired annotations to `out`, which must not exist.

    Returns:
        What was changed, one line each.
    Raises:
        UserError: `out` exists, or there is nothing to repair.
    """
    if out.exists():
        raise UserError(f"{out} exists, and repairs overwrite nothing; choose another name")
    content, changes = repaired(survey, facts)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content), encoding="utf-8")
    return changes


def repaired(survey: Survey, facts: Sequence[Facts]) -> tuple[dict[str, Any], Changes]:
    """The repaired content and what was changed; `facts` are of the survey's pictures."""
    if not isinstance(survey.content, dict):
        raise UserError(f"{survey.name} holds no sections images, categories, annotations; write it again")
    content, changes = copy.deepcopy(survey.content), Changes()
    sections = {name: _usable(content.get(name), name, changes) for name in FIELDS}
    known = {picture.entry: fact for picture, fact in zip(survey.pictures, facts, strict=True)}
    by_place = {id(entry): known.get(row) for row, entry in _rows(content.get("images"))}
    images, moved = _merge_files(_repair_images(sections["images"], by_place, changes), changes)
    categories, renamed = _repair_categories(sections["categories"], changes)
    for entry in sections["annotations"]:
        _rename(entry, "image_id", moved)
        _rename(entry, "category_id", renamed)
    annotations = _repair_annotations(sections["annotations"], images, categories, changes)
    return {**content, "images": images, "categories": categories, "annotations": annotations}, changes


def _rows(entries: Any) -> list[tuple[int, Any]]:
    return list(enumerate(entries)) if isinstance(entries, list) else []


def _usable(entries: Any, section: str, changes: Changes) -> Entries:
    kept = []
    for row, entry in _rows(entries):
        problem = entry_problem(entry, section)
        if problem:
            changes.append(f"{section}[{row}] left out: {problem}")
        else:
            kept.append(entry)
    return kept


def _repair_images(images: Entries, facts: dict[int, Facts | None], changes: Changes) -> Entries:
    """Pictures that can be read, each once, with the size of their file.

    A second entry of an id is left out: which of the two its objects are of cannot be known, and the loaders
    of others take the last.
    """
    kept: Entries = []
    ids: set[Any] = set()
    for image in images:
        fact = facts.get(id(image))
        if image["id"] in ids:
            changes.append(f"image {image['id']} ({image['file_name']}) left out: its id stands before")
            continue
        if fact is None or fact.size is None or fact.stored is None:
            changes.append(f"image {image['id']} ({image['file_name']}) left out: no readable picture")
            continue
        if stated_size(image) not in (fact.size, fact.stored):
            before = f"{image['width']}x{image['height']}"
            image["height"], image["width"] = fact.size
            changes.append(f"image {image['id']}: size {before} is now {fact.size[1]}x{fact.size[0]}")
        ids.add(image["id"])
        kept.append(image)
    return kept


def _merge_files(images: Entries, changes: Changes) -> tuple[Entries, dict[Any, Any]]:
    """One entry a file, and what the ids left out have become."""
    first: dict[str, Any] = {}
    moved: dict[Any, Any] = {}
    for image in images:
        name = str(image["file_name"])
        if name in first:
            changes.append(f"image {image['id']} joined with image {first[name]}: the same file {name}")
            moved[image["id"]] = first[name]
        first.setdefault(name, image["id"])
    return [image for image in images if image["id"] not in moved], moved


def _rename(entry: dict[str, Any], field: str, new: dict[Any, Any]) -> None:
    if isinstance(entry[field], Hashable):
        entry[field] = new.get(entry[field], entry[field])


def _repair_categories(categories: Entries, changes: Changes) -> tuple[Entries, dict[Any, Any]]:
    """One category for each id and name, and what the ids left out have become."""
    kept: dict[str, dict[str, Any]] = {}
    ids: set[Any] = set()
    renamed: dict[Any, Any] = {}
    following = max((category["id"] for category in categories), default=0) + 1
    for category in categories:
        name, identity = str(category["name"]), category["id"]
        if name in kept:
            changes.append(f"category {identity} {name!r} joined with category {kept[name]['id']}")
            if identity not in ids:
                renamed[identity] = kept[name]["id"]
            continue
        if identity in ids:
            changes.append(f"category {identity} {name!r} is now {following}: its id stands before")
            category["id"], following = following, following + 1
        ids.add(category["id"])
        kept[name] = category
    return list(kept.values()), renamed


def _repair_annotations(
    annotations: Entries, images: Entries, categories: Entries, changes: Changes
) -> Entries:
    sizes = {image["id"]: (image["height"], image["width"]) for image in images}
    classes = {category["id"] for category in categories}
    numbers = [entry["id"] for entry in annotations if isinstance(entry["id"], int)]
    following, ids, seen = max(numbers, default=0) + 1, set(), set()
    kept: Entries = []
    for entry in annotations:
        problem = _unusable(entry, sizes, classes) or _clip(entry, sizes[entry["image_id"]], changes)
        key = (entry["image_id"], entry["category_id"], str(entry["bbox"]))
        if not problem and key in seen:
            problem = "the same box and class stand before"
        if problem:
            changes.append(f"annotation {entry['id']} left out: {problem}")
            continue
        seen.add(key)
        if entry["id"] in ids:
            changes.append(f"annotation {entry['id']} is now {following}: its id stands before")
            entry["id"], following = following, following + 1
        ids.add(entry["id"])
        kept.append(entry)
    _strip_damaged(kept, sizes, changes)
    return kept


def _unusable(entry: dict[str, Any], sizes: dict[Any, Any], classes: set[Any]) -> str | None:
    for field, known in (("image_id", sizes), ("category_id", classes)):
        if not isinstance(entry[field], Hashable) or entry[field] not in known:
            return f"{field} {entry[field]!r} is not there"
    return f"bbox {entry['bbox']!r}" if bad_box(entry["bbox"]) else None


def _clip(entry: dict[str, Any], size: tuple[int, int], changes: Changes) -> str | None:
    """Cuts the box at the picture's border; says so where nothing is left."""
    x, y, width, height = entry["bbox"]
    x1, y1 = max(x, 0), max(y, 0)
    x2, y2 = min(x + width, size[1]), min(y + height, size[0])
    if x2 <= x1 or y2 <= y1:
        return f"bbox {entry['bbox']!r} lies outside its picture"
    if (x1, y1, x2, y2) != (x, y, x + width, y + height):
        before, entry["bbox"] = entry["bbox"], [x1, y1, x2 - x1, y2 - y1]
        changes.append(f"annotation {entry['id']}: bbox {before} is now {entry['bbox']}")
    return None


def _strip_damaged(entries: Entries, sizes: dict[Any, tuple[int, int]], changes: Changes) -> None:
    """The box of an object with a damaged segmentation is kept, without it."""
    masked = [entry for entry in entries if entry.get("segmentation")]
    segmentations = [entry["segmentation"] for entry in masked]
    for index in damaged_segmentations(segmentations, [sizes[entry["image_id"]] for entry in masked]):
        del masked[index]["segmentation"]
        changes.append(f"annotation {masked[index]['id']}: without its damaged segmentation")
