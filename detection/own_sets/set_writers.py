"""Sets of any layout written as COCO, or for the tools of YOLO, so that they read back as they were."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detection.layouts.layout import Layout, checked
from detection.layouts.yolo_labels import in_pixels
from foundation.atomic_files import write_json, write_text
from foundation.errors import UserError, plural
from pictures.decoding import image_size
from pictures.file_names import find_file

Entries = Sequence[dict[str, Any]]


def write_coco(layout: Layout, out: Path) -> str:
    """Writes a split as a COCO file; ids that are text, and ids of objects, become numbers from 1.

    Returns:
        What was written, and what names it in a configuration.
    Raises:
        UserError: `out` exists, or the split has a fault.
    """
    _require_absent(out)
    content = checked(layout).content
    images = content["images"]
    numbers = {image["id"]: number for number, image in enumerate(images, start=1)}
    if all(isinstance(image["id"], int) for image in images):
        numbers = {image["id"]: image["id"] for image in images}
    objects = enumerate(content["annotations"], start=1)
    written = {
        **content,
        "images": [{**image, "id": numbers[image["id"]]} for image in images],
        "annotations": [{**e, "id": n, "image_id": numbers[e["image_id"]]} for n, e in objects],
    }
    write_json(out, written)
    return (
        f"{out}: {plural(len(images), 'picture')}, {plural(len(content['annotations']), 'object')}; "
        f"read it with data.kind=coco data.train={out} data.pictures={layout.pictures}"
    )


def write_yolo(splits: Mapping[str, Layout], out: Path) -> list[str]:
    """Writes data.yaml, images/<split> and labels/<split> in the layout of Ultralytics.

    Shares are written with all their digits, so that `read_labels` gives the pixels back. YOLO knows neither
    crowds and difficult objects, which are left out, nor run-lengths and objects of several polygons: where
    one object has no outline that is a single polygon within its box, all are written as boxes.

    Returns:
        What was written and what was left out, one line each.
    Raises:
        UserError: `out` exists, splits have other classes or a fault, or a picture is not of its stated size.
    """
    _require_absent(out)
    read = {split: checked(layout) for split, layout in splits.items()}
    classes = {split: _classes(layout.content) for split, layout in read.items()}
    first = next(iter(classes.values()))
    if any(list(names.values()) != list(first.values()) for names in classes.values()):
        raise UserError(f"{' and '.join(read)} have different classes; expected the same in all splits")
    outlined = all(_is_outline(e) for layout in read.values() for e in layout.content["annotations"])
    pictures = {
        split: _pictures(layout) for split, layout in read.items()
    }  # all faults before anything is written
    lines = [
        _write_split(out, split, layout, pictures[split], classes[split], outlined)
        for split, layout in read.items()
    ]
    entries = [f"{split}: {_place(out, split)}\n" for split in read]
    names = [f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(first.values())]
    write_text(out / "data.yaml", "".join([*entries, "names:\n", *names]))
    if not outlined and any(e.get("segmentation") for la in read.values() for e in la.content["annotations"]):
        lines.append("outlines left out: not every object has one polygon that its box just holds")
    return [*lines, f"{out / 'data.yaml'}: read it with data.kind=yolo data.root={out}"]


def _require_absent(out: Path) -> None:
    if out.exists():
        raise UserError(f"{out} exists, and nothing is overwritten; choose another name")


def _classes(content: dict[str, Any]) -> dict[int, str]:
    """Names by id, in order of id."""
    return dict(sorted((entry["id"], entry["name"]) for entry in content["categories"]))


def _is_outline(entry: dict[str, Any]) -> bool:
    """Whether the segmentation is one polygon with the annotation's own box, which alone YOLO can say."""
    outline = entry.get("segmentation")
    if not isinstance(outline, list) or len(outline) != 1 or len(outline[0]) < 6:
        return False
    xs, ys = outline[0][::2], outline[0][1::2]
    x, y, width, height = entry["bbox"]
    return (x, y, x + width, y + height) == (min(xs), min(ys), max(xs), max(ys))


def _place(out: Path, split: str) -> str:
    listed = out / f"{split}.txt"
    return listed.name if listed.is_file() else f"images/{split}"


def _pictures(layout: Layout) -> list[tuple[Path, Path]]:
    """The file of each picture, and its name below the folder that holds all of them; UserError as above."""
    images = layout.content["images"]
    files = [find_file(layout.pictures, image["file_name"]) for image in images]
    places = [Path(os.path.abspath(file)) for file in files]  # without "..", which would leave the new folder
    folder = os.path.commonpath([place.parent for place in places]) if places else ""
    names = [place.relative_to(folder) for place in places]
    labels: set[Path] = set()
    for image, file, name in zip(images, files, names, strict=True):
        if image_size(file) != (image["height"], image["width"]):
            raise UserError(
                f"{file} has another size than its annotation says; repair it with tools/doctor.py"
            )
        if name.with_suffix("") in labels:
            raise UserError(f"{file}: another picture has the same name but its suffix; rename one of them")
        labels.add(name.with_suffix(""))
    return list(zip(files, names, strict=True))


def _write_split(
    out: Path,
    split: str,
    layout: Layout,
    pictures: Sequence[tuple[Path, Path]],
    classes: dict[int, str],
    outlined: bool,
) -> str:
    """Copies the pictures and writes their labels; a line that says how many."""
    content, numbers = layout.content, {own: number for number, own in enumerate(classes)}
    objects: dict[Any, list[str]] = {image["id"]: [] for image in content["images"]}
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    crowds = changed = 0
    for entry in content["annotations"]:
        if entry.get("iscrowd"):
            crowds += 1
            continue
        size = sizes[entry["image_id"]]
        shares = _shares(entry, size, outlined)
        changed += in_pixels(shares, size)["bbox"] != list(map(float, entry["bbox"]))
        row = (str(numbers[entry["category_id"]]), *map(repr, shares))
        objects[entry["image_id"]].append(" ".join(row))
    for image, (file, name) in zip(content["images"], pictures, strict=True):
        picture, labels = out / "images" / split / name, out / "labels" / split / name.with_suffix(".txt")
        for path in (picture, labels):
            path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, picture)
        write_text(labels, "".join(f"{line}\n" for line in objects[image["id"]]))
    names = [name for _, name in pictures]
    if names != sorted(names):  # folders are read by name
        write_text(out / f"{split}.txt", "".join(f"images/{split}/{name.as_posix()}\n" for name in names))
    count = sum(map(len, objects.values()))
    told = f"{split}: {plural(len(pictures), 'picture')}, {plural(count, 'object')}"
    told += f", {crowds} crowds or difficult objects left out" if crowds else ""
    return told + (f", {changed} boxes rounded to a millionth of a pixel" if changed else "")


def _shares(entry: dict[str, Any], size: tuple[int, int], outlined: bool) -> list[float]:
    """Box or polygon in shares of the picture's width and height."""
    height, width = size
    if outlined:
        (outline,) = entry["segmentation"]
        return [value / (height if place % 2 else width) for place, value in enumerate(outline)]
    x, y, w, h = entry["bbox"]
    return [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
