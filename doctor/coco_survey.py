"""COCO annotation files read entry by entry; every fault becomes a finding, and the reading goes on."""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detection.data.coco_checks import read_json
from detection.data.segmentation_checks import check_segmentations
from doctor.findings import Finding, find
from doctor.survey import Picture, Survey, Thing
from foundation.errors import UserError

FIELDS = {
    "images": ("id", "file_name", "height", "width"),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
}
Size = tuple[int, int]


def survey_coco(annotation_file: Path, folder: Path) -> Survey:
    """The pictures, categories and objects of a COCO file that have sense, and what is wrong with the rest.

    Raises:
        UserError: there is no such file, or it is not JSON.
    """
    content = read_json(annotation_file)
    survey = Survey(f"coco:{annotation_file}", [], content=content)
    entries = {section: list(_entries(content, section, survey.findings)) for section in FIELDS}
    _report_repeated(entries["images"], "file_name", "image", "duplicate_file_name", survey.findings)
    _report_repeated(entries["categories"], "name", "category", "duplicate_category_name", survey.findings)
    for row, image in entries["images"]:
        size = stated_size(image)
        if size is None:
            detail = (
                f"size {image['width']!r}x{image['height']!r} (width x height) is not whole pixels above 0"
            )
            survey.findings.append(find("malformed_entry", f"image {image['id']}", detail))
        where = str(image["file_name"])
        survey.pictures.append(Picture(where, folder / where, size, row))
    categories = sorted((category for _, category in entries["categories"]), key=lambda c: c["id"])
    survey.classes = [str(category["name"]) for category in categories]
    _report_gaps([category["id"] for category in categories], survey.findings)
    image_index = {image["id"]: index for index, (_, image) in enumerate(entries["images"])}
    category_index = {category["id"]: index for index, category in enumerate(categories)}
    for row, entry in entries["annotations"]:
        thing = _thing(row, entry, image_index, category_index, survey.findings)
        if thing is not None:
            survey.objects.append(thing)
    _check_segmentations(survey, content)
    return survey


def stated_size(image: dict[str, Any]) -> Size | None:
    """(height, width), None unless both are whole numbers above 0."""
    height, width = image.get("height"), image.get("width")
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in (height, width))
    return (height, width) if whole and height > 0 and width > 0 else None  # type: ignore[operator,return-value]


def bad_box(box: Any) -> str | None:
    """The check that a `bbox` fails by itself: malformed_box, negative_box or empty_box."""
    numbers = isinstance(box, list | tuple) and len(box) == 4
    if not numbers or not all(isinstance(n, int | float) and math.isfinite(n) for n in box):
        return "malformed_box"
    if min(box[2:]) < 0:
        return "negative_box"
    return "empty_box" if min(box[2:]) == 0 else None


def _entries(content: Any, section: str, findings: list[Finding]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries that have all fields and a usable id that no earlier one has, with their rows."""
    entries = content.get(section) if isinstance(content, dict) else None
    if section == "annotations" and entries is None and isinstance(content, dict) and "images" in content:
        return  # as COCO's own lists of test pictures
    if not isinstance(entries, list):
        findings.append(find("malformed_entry", section, "no list of this name, which a COCO file needs"))
        return
    name, seen = section.removesuffix("s").replace("categorie", "category"), set()
    for row, entry in enumerate(entries):
        problem = entry_problem(entry, section)
        if problem:
            findings.append(find("malformed_entry", f"{section}[{row}]", problem))
        elif entry["id"] in seen:
            findings.append(find(f"duplicate_{name}_id", f"{section}[{row}]", f"id {entry['id']!r} again"))
        else:
            seen.add(entry["id"])
            yield row, entry


def entry_problem(entry: Any, section: str) -> str | None:
    """What keeps an entry of a section from being read at all, None if nothing does."""
    if not isinstance(entry, dict):
        return f"{str(entry)[:40]!r} is no entry with fields"
    missing = [name for name in FIELDS[section] if name not in entry]
    if missing:
        return f"{', '.join(missing)} missing"
    kinds = int if section == "categories" else (int, str)
    if not isinstance(entry["id"], kinds) or isinstance(entry["id"], bool):
        return f"id {entry['id']!r} is not a whole number{'' if section == 'categories' else ' or text'}"
    return None


def _report_repeated(
    entries: Sequence[tuple[int, dict[str, Any]]], field: str, name: str, check: str, findings: list[Finding]
) -> None:
    ids: dict[str, list[Any]] = {}
    for _, entry in entries:
        ids.setdefault(str(entry[field]), []).append(entry["id"])
    for text, those in ids.items():
        if len(those) > 1:
            findings.append(find(check, f"{name} {those[1]}", f"{text!r} is also that of {name} {those[0]}"))


def _report_gaps(ids: Sequence[int], findings: list[Finding]) -> None:
    missing = sorted(set(range(1, max(ids, default=0) + 1)) - set(ids))
    if missing or (ids and ids[0] != 1):
        shown = f"{', '.join(map(str, missing[:8]))}{', …' if len(missing) > 8 else ''}"
        detail = f"{len(ids)} ids from {ids[0]} to {ids[-1]}, without {shown or 'a start at 1'}"
        findings.append(find("category_gap", "categories", f"{detail}; labels follow the order of ids"))


def _thing(
    row: int,
    entry: dict[str, Any],
    image_index: dict[Hashable, int],
    category_index: dict[Hashable, int],
    findings: list[Finding],
) -> Thing | None:
    where = f"annotation {entry['id']}"
    picture, category = (
        index.get(key) if isinstance(key, Hashable) else None
        for index, key in ((image_index, entry["image_id"]), (category_index, entry["category_id"]))
    )
    if picture is None:
        findings.append(find("unknown_image", where, f"image_id {entry['image_id']!r} is not in images"))
    if category is None:
        detail = f"category_id {entry['category_id']!r} is not in categories"
        findings.append(find("unknown_category", where, detail))
    check = bad_box(entry["bbox"])
    if check:
        findings.append(find(check, where, f"bbox {entry['bbox']!r}, expected x, y, width, height"))
    if check or picture is None or category is None:
        return None
    x, y, width, height = entry["bbox"]
    crowd = bool(entry.get("iscrowd", 0))
    return Thing(where, picture, category, (x, y, x + width, y + height), crowd, row)


def _check_segmentations(survey: Survey, content: Any) -> None:
    """Damaged ones, and missing ones where others are there."""
    stated = [
        (content["annotations"][thing.entry].get("segmentation"), survey.pictures[thing.picture].size, thing)
        for thing in survey.objects
    ]
    if not any(segmentation for segmentation, _, _ in stated):
        return
    survey.findings += [
        find("missing_segmentation", thing.where, "others have one; training masks will refuse the file")
        for segmentation, _, thing in stated
        if not segmentation
    ]
    whole = [(s, size, thing) for s, size, thing in stated if s and size is not None]
    for index in damaged_segmentations([s for s, _, _ in whole], [size for _, size, _ in whole]):
        text = str(whole[index][0])
        detail = f"{text[:40]}{'…' if len(text) > 40 else ''} is no polygons or run-length of its picture"
        survey.findings.append(find("damaged_segmentation", whole[index][2].where, detail))


def damaged_segmentations(segmentations: Sequence[Any], sizes: Sequence[Size]) -> list[int]:
    """Which segmentations the loader refuses; by halves, as the loader's check ends at the first."""
    return list(_search(0, len(segmentations), lambda a, b: _refused(segmentations[a:b], sizes[a:b])))


def _refused(segmentations: Sequence[Any], sizes: Sequence[Size]) -> bool:
    try:
        check_segmentations(segmentations, sizes, str)
    except UserError:
        return True
    return False


def _search(start: int, stop: int, refused: Callable[[int, int], bool]) -> Iterator[int]:
    if start == stop or not refused(start, stop):
        return
    if stop - start == 1:
        yield start
        return
    middle = (start + stop) // 2
    yield from _search(start, middle, refused)
    yield from _search(middle, stop, refused)
