"""Boxes, masks and fields of objects made fit: what is wrong in one is taken from another."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from detection.data.annotation_writers import set_texts, voc_corners
from detection.data.annotations import Problem
from detection.data.voc_checks import VOC_FORM, VocObject, XmlForm, read_object, read_size
from doctor.picture_checks import PictureFacts
from pictures.annotations.coco_checks import section_of
from pictures.annotations.coco_masks import draw_mask, segmentation_problems
from pictures.annotations.field_checks import decimal, is_area, is_flag, is_id, is_text, is_whole, shown

# What other programs write for the flags "crowd" and "difficult".
_FLAGS = {"true": 1, "yes": 1, "t": 1, "y": 1}


def as_flag(value: Any) -> int:
    """0 or 1 for a flag in another form, such as true, "1", [1] or "yes"; 0 where it is none of these."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    text = str(value).strip().lower()
    return _FLAGS.get(text, int(decimal(text) == 1))


def mend_fields(content: Any, changes: list[str]) -> None:
    """Enters ids, flags, areas and names of classes of a COCO file as they are asked for, where they tell.

    Args:
        content: of the file; its entries are changed.
        changes: a line is added for each change.
    """
    for index, entry in enumerate(section_of(content, "categories")):
        if isinstance(entry, dict):
            _mend_category(entry, index, changes)
    known = {
        field: {str(entry["id"]): entry["id"] for entry in section_of(content, section) if _has_id(entry)}
        for field, section in (("image_id", "images"), ("category_id", "categories"))
    }
    annotations = [entry for entry in section_of(content, "annotations") if isinstance(entry, dict)]
    following = max((entry["id"] for entry in annotations if is_whole(entry.get("id"))), default=0) + 1
    for index, entry in enumerate(annotations):
        if not is_id(entry.get("id")):
            _enter(f"annotations[{index}]", entry, "id", following, changes)
            following += 1
        name = f"annotation {entry['id']}"
        for field, meant in known.items():
            if str(entry.get(field)) in meant and meant[str(entry[field])] != entry[field]:
                _enter(name, entry, field, meant[str(entry[field])], changes)
        if not is_flag(entry.get("iscrowd")):
            _enter(name, entry, "iscrowd", as_flag(entry["iscrowd"]), changes)
        if not is_area(entry.get("area")):
            area = decimal(str(entry["area"]).strip())
            _enter(name, entry, "area", area if is_area(area) else None, changes)


def _mend_category(entry: dict[str, Any], index: int, changes: list[str]) -> None:
    number = decimal(str(entry.get("id")))
    if not is_whole(entry.get("id")) and number.is_integer():
        _enter(f"categories[{index}]", entry, "id", int(number), changes)
    if not is_text(entry.get("name")) and is_whole(entry.get("id")):
        is_named = isinstance(entry.get("name"), int | float)
        _enter(f"category {entry['id']}", entry, "name", str(entry["name" if is_named else "id"]), changes)


def _enter(name: str, entry: dict[str, Any], field: str, value: Any, changes: list[str]) -> None:
    changes.append(f"{name}: {field} {shown(entry.get(field))} is now {value!r}")
    entry[field] = value


def _has_id(entry: Any) -> bool:
    return isinstance(entry, dict) and is_id(entry.get("id"))


def inside(box: Any, size: tuple[int, int]) -> list[float] | None:
    """A box [x, y, width, height] as it is inside its picture; None where nothing is left, or it is no box.

    Sizes below 0 count from the right or the bottom, as when an object was marked from there; text that says
    a number is one.

    Args:
        box: as a file gives it.
        size: (height, width) of the picture.
    """
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    try:
        x, y, width, height = (n if type(n) in (int, float) else float(n) for n in box)
        if not all(map(math.isfinite, (x, y, width, height))):
            return None
    except (TypeError, ValueError, OverflowError):
        return None
    (left, right), (top, bottom) = sorted((x, x + width)), sorted((y, y + height))
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, size[1]), min(bottom, size[0])
    if x2 <= x1 or y2 <= y1:
        return None
    whole = (x1, y1, x2, y2) == (x, y, x + width, y + height)
    return [x, y, width, height] if whole else [x1, y1, x2 - x1, y2 - y1]


def box_of_mask(segmentation: Any, size: tuple[int, int]) -> list[float] | None:
    """The box [x, y, width, height] around a sound mask, inside a picture (height, width); None without."""
    if not segmentation or segmentation_problems([segmentation], [size]):
        return None
    if isinstance(segmentation, list):
        corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation]).astype(float)
        low, high = corners.min(axis=0), corners.max(axis=0)
    else:
        rows, columns = np.nonzero(draw_mask(segmentation, size))
        if not len(rows):
            return None
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max() + 1, rows.max() + 1])
    return inside([*low.tolist(), *(high - low).tolist()], size)


def repair_masks(
    entries: Sequence[dict[str, Any]], sizes: Mapping[Hashable, tuple[int, int]], changes: list[str]
) -> None:
    """Gives every object a sound mask if any has one: the sound polygons of its own, or else its box.

    A training with masks needs one of each object. Where all that is sound is a box, the mask is that box.

    Args:
        entries: objects with sound boxes.
        sizes: (height, width) of the pictures by id.
        changes: a line is added for each change.
    """
    if not any(entry.get("segmentation") for entry in entries):
        return
    values = [entry.get("segmentation") for entry in entries]
    places = [sizes[entry["image_id"]] for entry in entries]
    for index, text in segmentation_problems(values, places).items():
        entry, value = entries[index], values[index]
        name, polygons = f"annotation {entry['id']}", value if isinstance(value, list) else []
        sound = [polygon for polygon in polygons if not segmentation_problems([[polygon]], [places[index]])]
        if sound:
            left_out = f"{len(polygons) - len(sound)} of its {len(polygons)} polygons left out"
            changes.append(f"{name}: {left_out}, which cannot be drawn")
        else:
            x, y, width, height = entry["bbox"]
            sound = [[x, y, x + width, y, x + width, y + height, x, y + height]]
            changes.append(f"{name}: its box stands for its mask, since its {text.split(';')[0]}")
        entry["segmentation"] = sound


def mend_size(root: ET.Element, name: str, fact: PictureFacts, changes: list[str]) -> None:
    """States the size of the file, turned or not as the annotation had it, unless the boxes fit the other."""
    stated = read_size(root)
    if stated in ([fact.fitting] if fact.fitting else [fact.size, fact.stored]):
        return
    before = "" if isinstance(stated, Problem) else f"{stated[::-1]} "
    height, width = fact.fitting or fact.size or (0, 0)
    changes.append(f"{name}: size {before}is now {(width, height)} (width, height)")
    set_texts(root, "size", {"width": width, "height": height})


def mend_objects(
    root: ET.Element,
    name: str,
    names: Sequence[str],
    changes: list[str],
    form: XmlForm = VOC_FORM,
    label: int | None = None,
) -> None:
    """Leaves out the objects that cannot be used or stand twice, and cuts boxes at the picture's border.

    Args:
        root: of an annotation whose size is right.
        name: how `changes`, to which a line is added for each, call its file.
        names: what <name> may be, in the order of the labels.
        label: that all objects must have; None where they may be of any class.
    """
    seen: set[tuple[object, ...]] = set()
    size = read_size(root)
    assert not isinstance(size, Problem)  # it was repaired
    for number, node in enumerate(root.findall("object"), start=1):
        where, stated = f"{name} object {number}", (node.findtext("difficult") or "").strip()
        if stated and decimal(stated) not in (0, 1):
            changes.append(f"{where}: difficult {stated!r} is now {as_flag(stated)}")
            set_texts(node, ".", {"difficult": as_flag(stated)})
        found = read_object(node, number, names, size, form)
        if not isinstance(found, VocObject):
            root.remove(node)
            changes.append(f"{where} left out: {found[0].text}")
            continue
        if label not in (None, found.label):
            root.remove(node)
            changes.append(f"{where} left out: it is {names[found.label - 1]}, which the picture is not")
            continue
        x1, y1, x2, y2 = found.box
        box = max(x1, 0), max(y1, 0), min(x2, size[1]), min(y2, size[0])
        if box != found.box:
            corners = (voc_corners(one, form).values() for one in (found.box, box))
            before, after = (", ".join(f"{value:g}" for value in values) for values in corners)
            changes.append(f"{where}: bndbox {before} is now {after}")
            set_texts(node, "bndbox", voc_corners(box, form))
        if (found.label, box) in seen:
            root.remove(node)
            changes.append(f"{where} left out: the same box and class stand before")
        seen.add((found.label, box))
