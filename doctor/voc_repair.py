"""A VOC split made fit for the loader, as a devkit folder of its own."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from detection.data.voc_dataset import VocSplit
from doctor.findings import Finding
from doctor.picture_checks import Facts
from doctor.survey import Survey
from doctor.voc_survey import box_of, class_of, read_xml, stated_size
from foundation.errors import UserError

Changes = list[str]


def write_repaired(split: VocSplit, survey: Survey, facts: Sequence[Facts], out: Path) -> Changes:
    """Writes `out`/VOC2007 with Annotations, the split's list, and a link to the pictures.

    Args:
        split: the original.
        out: a folder that does not exist.
    Returns:
        What was changed, one line each.
    Raises:
        UserError: `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists, and repairs overwrite nothing; choose another folder")
    target = VocSplit(out / split.folder.name, split.name)
    (target.folder / "Annotations").mkdir(parents=True)
    target.list_file.parent.mkdir(parents=True)
    pictures = (split.folder / "JPEGImages").absolute()
    (target.folder / "JPEGImages").symlink_to(pictures, target_is_directory=True)
    changes, kept = Changes(), []
    for picture, fact in zip(survey.pictures, facts, strict=True):
        root = read_xml(split.annotation_file(picture.where))
        if isinstance(root, str) or fact.size is None or fact.stored is None:
            reason = root if isinstance(root, str) else "no readable picture"
            changes.append(f"{picture.where} left out: {reason}")
            continue
        _repair(root, picture.where, fact, changes)
        ET.ElementTree(root).write(target.annotation_file(picture.where))
        kept.append(picture.where)
    target.list_file.write_text("".join(f"{name}\n" for name in kept))
    return changes


def _repair(root: ET.Element, name: str, fact: Facts, changes: Changes) -> None:
    assert fact.size is not None
    size = stated_size(root)
    if size is None or size not in (fact.size, fact.stored):
        changes.append(f"{name}: size {size and size[::-1]} is now {fact.size[::-1]} (width, height)")
        size = fact.size
        _set(root, "size", {"width": size[1], "height": size[0]})
    seen: set[tuple[object, ...]] = set()
    for number, node in enumerate(root.findall("object"), start=1):
        where = f"{name}.xml object {number}"
        problem = _unusable(node, where, size, seen, changes)
        if problem:
            root.remove(node)
            changes.append(f"{where} left out: {problem}")


def _unusable(
    node: ET.Element, where: str, size: tuple[int, int], seen: set[tuple[object, ...]], changes: Changes
) -> str | None:
    """Cuts the box at the picture's border; says why where the object cannot be kept."""
    findings: list[Finding] = []
    category, box = class_of(node, where, findings), box_of(node, where, findings)
    if category is None or box is None:
        return findings[0].detail
    x1, y1, x2, y2 = max(box[0], 0), max(box[1], 0), min(box[2], size[1]), min(box[3], size[0])
    if x2 <= x1 or y2 <= y1:
        return f"bndbox {_written(box)} lies outside its picture"
    if (x1, y1, x2, y2) != box:
        changes.append(f"{where}: bndbox {_written(box)} is now {_written((x1, y1, x2, y2))}")
        values = dict(zip(("xmin", "ymin", "xmax", "ymax"), (x1 + 1, y1 + 1, x2, y2), strict=True))
        _set(node, "bndbox", values)
    if (category, x1, y1, x2, y2) in seen:
        return "the same box and class stand before"
    seen.add((category, x1, y1, x2, y2))
    return None


def _written(box: tuple[float, float, float, float]) -> str:
    """As in the file: 1-based, inclusive."""
    return f"{box[0] + 1:g}, {box[1] + 1:g}, {box[2]:g}, {box[3]:g}"


def _set(root: ET.Element, section: str, values: dict[str, float]) -> None:
    parent = root.find(section)
    parent = ET.SubElement(root, section) if parent is None else parent
    for name, value in values.items():
        node = parent.find(name)
        node = ET.SubElement(parent, name) if node is None else node
        node.text = f"{value:g}"
