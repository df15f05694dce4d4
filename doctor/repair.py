"""Annotations made fit for the loaders: what cannot be used is left out, what can be corrected is."""

import copy
import os
import xml.etree.ElementTree as ET
from collections.abc import Hashable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from detection.data.annotations import Problem
from detection.data.voc_checks import read_xml
from detection.data.voc_dataset import CLASSES_FILE, VocSplit
from detection.imagenet.ilsvrc_places import IlsvrcPlaces, part_of
from detection.imagenet.ilsvrc_split import IlsvrcSplit, form_of
from detection.own_sets.dataset_kinds import SplitFiles
from doctor.object_repair import box_of_mask, inside, mend_fields, mend_objects, mend_size, repair_masks
from doctor.picture_checks import PictureFacts
from doctor.survey import Survey, SurveyedPicture
from doctor.survey_readers import right_name
from foundation.atomic_files import write_bytes, write_json, write_text
from foundation.errors import UserError
from pictures.annotations.coco_checks import FIELDS, problems, section_of, stated_size

Changes = list[str]
Entries = list[dict[str, Any]]


def require_absent(out: Path) -> None:
    """Refuse to write where something is, with a UserError."""
    if out.exists():
        raise UserError(f"{out} exists, and repairs overwrite nothing; choose another name")


def repair_split(split: SplitFiles, survey: Survey, facts: Sequence[PictureFacts], out: Path) -> Changes:
    """Writes the repaired annotations of a split.

    Args:
        survey: of the split; `facts` are of its pictures.
        out: of COCO a file; of VOC a folder for VOC2007 with Annotations, the split's list and a link to the
            pictures; of ImageNet a root with Annotations and links to all else.
    Returns:
        What was changed, one line each.
    Raises:
        UserError: `out` exists, or there is nothing to repair.
    """
    require_absent(out)
    if isinstance(split, VocSplit):
        return _repair_voc(split, survey, facts, out)
    if isinstance(split, IlsvrcSplit):
        return _repair_imagenet(split, survey, facts, out)
    content, changes = _repaired_coco(survey, facts, split.pictures)
    write_json(out, content)
    return changes


def _repaired_coco(
    survey: Survey, facts: Sequence[PictureFacts], folder: Path
) -> tuple[dict[str, Any], Changes]:
    if not isinstance(survey.content, dict):
        raise UserError(f"{survey.name} holds no sections images, categories, annotations; write it again")
    content, changes = copy.deepcopy(survey.content), Changes()
    for image in section_of(content, "images"):
        if isinstance(image, dict):  # without a size that of the file is entered, as for an impossible one
            image.update({side: image.get(side) for side in ("height", "width")})
    mend_fields(content, changes)
    malformed = {p.row: p.text for p in problems(content) if p.row and p.check == "malformed_entry"}
    changes += [f"{section}[{row}] left out: {text}" for (section, row), text in malformed.items()]
    found = {picture.row: (picture, fact) for picture, fact in zip(survey.pictures, facts, strict=True)}
    numbered, categories, annotations = (
        [(row, e) for row, e in enumerate(section_of(content, section)) if (section, row) not in malformed]
        for section in FIELDS
    )
    images = [(image, *found.get(row, (None, None))) for row, image in numbered]
    content["images"], moved = _merge_files(_repair_images(images, folder, changes), changes)
    content["categories"], renamed = _repair_categories([entry for _, entry in categories], changes)
    for (_, entry), (field, new) in product(annotations, (("image_id", moved), ("category_id", renamed))):
        if isinstance(entry[field], Hashable):
            entry[field] = new.get(entry[field], entry[field])
    content["annotations"] = [entry for _, entry in annotations]
    content["annotations"] = _repair_annotations(content, changes)
    return content, changes


def _repair_images(
    images: Sequence[tuple[dict[str, Any], SurveyedPicture | None, PictureFacts | None]],
    folder: Path,
    changes: Changes,
) -> Entries:
    """Pictures that can be read, each once, with the name and size of their file.

    A second entry of an id is left out: which of the two its objects are of cannot be known, and the loaders
    of others take the last.
    """
    kept: dict[Hashable, dict[str, Any]] = {}
    for image, picture, fact in images:
        name = f"image {image['id']}"
        if image["id"] in kept:
            changes.append(f"{name} ({image['file_name']}) left out: its id stands before")
        elif picture is None or fact is None or fact.size is None:
            changes.append(f"{name} ({image['file_name']}) left out: no readable picture")
        else:
            kept[image["id"]] = image
            if picture.path != folder / str(image["file_name"]):
                file = Path(os.path.relpath(picture.path, folder)).as_posix()
                changes.append(f"{name}: file_name {image['file_name']!r} is now {file!r}")
                image["file_name"] = file
            if stated_size(image) not in ([fact.fitting] if fact.fitting else [fact.size, fact.stored]):
                before = f"{image['width']}x{image['height']}".replace("NonexNone", "not stated")
                image["height"], image["width"] = fact.fitting or fact.size
                changes.append(f"{name}: size {before} is now {image['width']}x{image['height']}")
    return list(kept.values())


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


def _repair_categories(categories: Entries, changes: Changes) -> tuple[Entries, dict[Any, Any]]:
    """One category for each id and name, and what the ids left out have become."""
    kept: dict[str, dict[str, Any]] = {}
    renamed: dict[Any, Any] = {}
    numbers = [category["id"] for category in categories]
    ids: set[Any] = set()
    for category in categories:
        name, identity = str(category["name"]), category["id"]
        if name in kept:
            changes.append(f"category {identity} {name!r} joined with category {kept[name]['id']}")
            if identity not in ids:
                renamed[identity] = kept[name]["id"]
            continue
        if identity in ids:
            category["id"] = max(numbers) + 1
            numbers.append(category["id"])
            changes.append(f"category {identity} {name!r} is now {category['id']}: its id stands before")
        ids.add(category["id"])
        kept[name] = category
    return list(kept.values()), renamed


def _repair_annotations(content: dict[str, Any], changes: Changes) -> Entries:
    """Objects that can be used, each once, numbered apart and inside their pictures."""
    entries: Entries = content["annotations"]
    following = max((e["id"] for e in entries if isinstance(e["id"], int)), default=0) + 1
    ids: set[Hashable] = set()
    for entry in entries:
        if entry["id"] in ids:
            changes.append(f"annotation {entry['id']} is now {following}: its id stands before")
            entry["id"], following = following, following + 1
        ids.add(entry["id"])
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    for entry in entries:
        if isinstance(entry["image_id"], Hashable) and entry["image_id"] in sizes:
            _repair_box(entry, sizes[entry["image_id"]], changes)
    unusable = {problem.row: problem.text for problem in problems(content)}
    kept: dict[tuple[Hashable, Hashable, str], dict[str, Any]] = {}
    for row, entry in enumerate(entries):
        fault = unusable.get(("annotations", row))
        if not fault and inside(entry["bbox"], sizes[entry["image_id"]]) is None:
            fault = f"bbox {entry['bbox']!r} has no area inside its picture"
        key = (str(entry["image_id"]), str(entry["category_id"]), str(entry["bbox"]))
        if not fault and key in kept:
            fault = "the same box and class stand before"
        if fault:
            changes.append(f"annotation {entry['id']} left out: {fault}")
        else:
            kept[key] = entry
    repair_masks(list(kept.values()), sizes, changes)
    return list(kept.values())


def _repair_box(entry: dict[str, Any], size: tuple[int, int], changes: Changes) -> None:
    """Cuts the box at the picture's border; one without area there becomes that of a sound mask."""
    box, how = inside(entry["bbox"], size), ""
    if box is None:
        box, how = box_of_mask(entry.get("segmentation"), size), ", the box of its segmentation"
    if box is not None and repr(box) != repr(entry["bbox"]):
        changes.append(f"annotation {entry['id']}: bbox {entry['bbox']} is now {box}{how}")
        entry["bbox"] = box


def _repair_voc(split: VocSplit, survey: Survey, facts: Sequence[PictureFacts], out: Path) -> Changes:
    target = VocSplit(out / split.folder.name, split.name)
    annotations = target.folder / "Annotations"
    annotations.mkdir(parents=True)
    target.list_file.parent.mkdir(parents=True)
    pictures = (split.folder / "JPEGImages").absolute()
    (target.folder / "JPEGImages").symlink_to(pictures, target_is_directory=True)
    if (split.folder / CLASSES_FILE).is_file():
        write_bytes(target.folder / CLASSES_FILE, (split.folder / CLASSES_FILE).read_bytes())
    changes: Changes = []
    kept: list[str] = []
    for picture, fact in zip(survey.pictures, facts, strict=True):
        root, name = read_xml(split.annotation_file(picture.where)), picture.where
        if isinstance(root, Problem) or fact.size is None:
            reason = root.text if isinstance(root, Problem) else "no readable picture"
            changes.append(f"{picture.where} left out: {reason}")
            continue
        name = right_name(split, name, picture.path)
        if name in kept:
            changes.append(f"{picture.where} left out: its picture is listed as {name}, too")
            continue
        if name != picture.where:
            changes.append(f"{picture.where} is now {name}, as its file is called")
        mend_size(root, name, fact, changes)
        mend_objects(root, f"{name}.xml", survey.classes, changes)
        (annotations / f"{name}.xml").parent.mkdir(parents=True, exist_ok=True)
        write_bytes(annotations / f"{name}.xml", ET.tostring(root))
        kept.append(name)
    write_text(target.list_file, "".join(f"{name}\n" for name in kept))
    return changes


def _repair_imagenet(split: IlsvrcSplit, survey: Survey, facts: Sequence[PictureFacts], out: Path) -> Changes:
    """The lists and the devkit stay as they are, because they call pictures by their places in the lists."""
    target = IlsvrcSplit(IlsvrcPlaces(out, split.places.task), split.name)
    annotations, root_of = Path("Annotations", split.places.task), split.places.root.absolute()
    (out / annotations).mkdir(parents=True)
    parts = [annotations / part for part in ("train", "val") if part != part_of(split.name)]
    for folder in (Path("Data"), Path("ImageSets"), Path("devkit"), *parts):
        (out / folder).symlink_to(root_of / folder, target_is_directory=True)
    changes: Changes = []
    form, names = form_of(split.places.task), split.names()
    for picture, fact in zip(survey.pictures, facts, strict=True):
        file, copy_of = target.annotation_file(picture.where), split.annotation_file(picture.where)
        if not copy_of.is_file() and not split.read(picture.where, names).problems:
            continue  # a training picture of DET without objects
        root = read_xml(copy_of, form)
        if isinstance(root, Problem) or fact.size is None:
            reason = root.text if isinstance(root, Problem) else "no readable picture"
            changes.append(f"{picture.where} is not repaired, and keeps the split from being read: {reason}")
            continue
        mend_size(root, picture.where, fact, changes)
        label = split.lists.labels.get(picture.where)
        mend_objects(root, f"{picture.where}.xml", names, changes, form, label)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, ET.tostring(root))
    return changes
