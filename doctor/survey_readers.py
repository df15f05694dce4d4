"""Data sets read for the doctor: every fault becomes a finding, and the reading goes on."""

import os
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from detection.data.annotations import DetectionDataset, Problem
from detection.data.voc_checks import VocAnnotation, read_annotation
from detection.data.voc_dataset import VocSplit
from detection.imagenet.ilsvrc_split import IlsvrcSplit
from detection.layouts.layout import Layout
from detection.own_sets.dataset_kinds import SplitFiles
from doctor.findings import Finding, find
from doctor.survey import Survey, SurveyedObject, SurveyedPicture
from doctor.survey_imagenet import survey_imagenet
from foundation.errors import UserError
from pictures.annotations.coco_checks import (
    FIELDS,
    problems,
    read_json,
    section_of,
    stated_size,
    with_annotations,
    with_sizes,
)
from pictures.annotations.coco_masks import segmentation_problems
from pictures.annotations.coco_split import CocoSplit
from pictures.file_names import find_file, fitting_files
from pictures.suffixes import PICTURE_SUFFIXES, count_others, is_hidden, is_picture


def survey_split(split: SplitFiles) -> Survey:
    """A split whose files are known; UserError where its annotations or its list are missing."""
    if isinstance(split, IlsvrcSplit):
        return survey_imagenet(split)
    return survey_coco(split) if isinstance(split, CocoSplit) else survey_voc(split)


def _refusal(problem: Problem, where: object) -> Finding:
    """What the loader refuses is an error; `where` names the entry."""
    return find(problem.check, where, problem.text, "error")


def survey_coco(split: CocoSplit) -> Survey:
    """What of a COCO file can be used, and what is wrong with the rest."""
    file, folder = split
    return _survey_content(read_json(file), folder, str(file), f"coco:{file}")


def survey_layout(layout: Layout, name: str) -> Survey:
    """As `survey_coco`, of a split in the layout of another program."""
    survey = _survey_content(layout.content, layout.pictures, layout.source, name)
    survey.findings = [_refusal(p, p.where or layout.source) for p in layout.problems] + survey.findings
    survey.ignored = "difficult" if name.startswith("voc:") else "crowd"
    return survey


def _survey_content(content: Any, folder: Path, file: str, name: str) -> Survey:
    stored = with_annotations(content, file)
    content = with_sizes(stored, folder, file)
    found = list(problems(content))
    survey = Survey(name, [], content=stored)
    survey.findings = [_refusal(problem, problem.where or file) for problem in found]
    unusable = {problem.row for problem in found}
    images, categories, annotations = (
        [(row, e) for row, e in enumerate(section_of(content, section)) if (section, row) not in unusable]
        for section in FIELDS
    )
    categories.sort(key=lambda numbered: numbered[1]["id"])
    names = [(str(category["name"]), category["id"]) for _, category in categories]
    survey.findings += _repeated(names, "category", "duplicate_category_name")
    survey.classes = [str(category["name"]) for _, category in categories]
    survey.category_ids = [category["id"] for _, category in categories]
    survey.image_ids = [image["id"] for _, image in images]
    survey.findings += _gaps(survey.category_ids)
    for row, image in images:
        name = str(image["file_name"])
        survey.pictures.append(SurveyedPicture(name, find_file(folder, name), stated_size(image), row))
    files = [os.path.relpath(picture.path, folder) for picture in survey.pictures]
    survey.findings += _repeated(
        list(zip(files, survey.image_ids, strict=True)), "image", "duplicate_file_name"
    )
    survey.findings += [
        find("misspelt_name", picture.where, f"the file is called {file}; it was found by its spelling")
        for picture, file in zip(survey.pictures, files, strict=True)
        if picture.path != folder / picture.where
    ]
    survey.findings += [
        find("missing_size", image["file_name"], "no height and width; those of its file are taken")
        for row, image in images
        if image is not stored["images"][row]
    ]
    index_of = {image_id: index for index, image_id in enumerate(survey.image_ids)}
    class_of = {category_id: index for index, category_id in enumerate(survey.category_ids)}
    for _, entry in annotations:
        where, (x, y, width, height) = f"annotation {entry['id']}", entry["bbox"]
        if min(width, height) == 0:
            detail = f"bbox {entry['bbox']!r}, expected x, y, width, height; scored, but not trained on"
            survey.findings.append(find("empty_box", where, detail))
            continue
        picture, category = index_of[entry["image_id"]], class_of[entry["category_id"]]
        box, crowd = (x, y, x + width, y + height), bool(entry.get("iscrowd", 0))
        survey.objects.append(SurveyedObject(where, picture, category, box, crowd))
    sizes = [survey.pictures[index_of[entry["image_id"]]].size for _, entry in annotations]
    survey.findings += _segmentation_findings([entry for _, entry in annotations], sizes)
    return survey


def _repeated(entries: Sequence[tuple[str, Hashable]], name: str, check: str) -> list[Finding]:
    """What several entries, given as text and id, have in common."""
    ids: dict[str, list[Hashable]] = {}
    for text, number in entries:
        ids.setdefault(text, []).append(number)
    return [
        find(check, f"{name} {those[1]}", f"{text!r} is also that of {name} {those[0]}")
        for text, those in ids.items()
        if len(those) > 1
    ]


def _gaps(ids: Sequence[int]) -> list[Finding]:
    """Numbers that the ascending ids of the categories leave out."""
    known, last = set(ids), max(ids, default=0)
    # Looked for as far as they are shown: an id of 2 ** 40 leaves out more than memory holds.
    missing = list(islice((number for number in range(1, last + 1) if number not in known), 9))
    if not missing and (not ids or ids[0] == 1):
        return []
    shown = f"{', '.join(map(str, missing[:8]))}{', …' if len(missing) > 8 else ''}"
    detail = f"{len(ids)} ids from {ids[0]} to {ids[-1]}, without {shown or 'a start at 1'}"
    return [find("category_gap", "categories", f"{detail}; labels follow the order of ids")]


def _segmentation_findings(
    entries: Sequence[dict[str, Any]], sizes: Sequence[tuple[int, int] | None]
) -> list[Finding]:
    """Damaged segmentations, and missing ones where others are there; `sizes` are those of the pictures."""
    without = [entry["id"] for entry in entries if not entry.get("segmentation")]
    if len(without) == len(entries):
        return []
    detail = "others have one; training masks needs all"
    findings = [find("missing_segmentation", f"annotation {number}", detail) for number in without]
    checked = [(e, s) for e, s in zip(entries, sizes, strict=True) if e.get("segmentation") and s is not None]
    damaged = segmentation_problems([e["segmentation"] for e, _ in checked], [size for _, size in checked])
    return findings + [
        find("damaged_segmentation", f"annotation {checked[row][0]['id']}", text)
        for row, text in damaged.items()
    ]


def survey_voc(split: VocSplit) -> Survey:
    """One split of one year."""
    survey = Survey(f"voc:{split.folder}:{split.name}", split.classes(), ignored="difficult")
    names, secret = split.image_ids(), split.is_secret()
    for index, (name, count) in enumerate(Counter(names).items()):
        if count > 1:
            detail = f"stands several times in {split.name}.txt"
            survey.findings.append(find("duplicate_image_id", name, detail))
        survey.image_ids.append(name)
        path, picture = split.annotation_file(name), split.image_path(name)
        read = VocAnnotation(None, [], []) if secret else split.read(name, survey.classes)
        survey.findings += [
            _refusal(p, f"{name}.xml {p.where}" if p.where else path)
            for p in read.problems
            if p.check != "turned_boxes"  # known when all pictures are, of whatever kind the set is
        ]
        survey.findings += _misspelt(split, name, path, picture)
        if read.size is not None and read_annotation(path, []).size is None:
            survey.findings.append(find("missing_size", f"{name}.xml", "no size; that of its file is taken"))
        survey.pictures.append(SurveyedPicture(name, picture, read.size))
        survey.objects += [
            SurveyedObject(f"{name}.xml object {o.number}", index, o.label - 1, o.box, o.difficult)
            for o in read.objects
        ]
    return survey


def _misspelt(split: VocSplit, name: str, annotation: Path, picture: Path) -> list[Finding]:
    """Of the files of a VOC picture those that are called otherwise than it is listed."""
    files = [annotation] if annotation.stem != Path(name + ".xml").stem else []
    if right_name(split, name, picture) != name:
        files.append(picture)
    text = "the file is called {}; it was found by its spelling"
    return [find("misspelt_name", name, text.format(os.path.relpath(f, split.folder))) for f in files]


def right_name(split: VocSplit, name: str, picture: Path) -> str:
    """The name under which a VOC picture should be listed: that of its file, if only spelt otherwise."""
    folder = split.folder / "JPEGImages"
    if picture not in fitting_files(folder, name + picture.suffix):
        return name  # found by <filename>, or missing
    return os.path.relpath(picture.with_suffix(""), folder)


def survey_dataset(dataset: DetectionDataset, name: str) -> Survey:
    """A data set of a kind whose files are not known here: what its loader gives."""
    survey = Survey(name, dataset.classes, dataset.category_ids, dataset.image_ids)
    for index, (size, target) in enumerate(zip(dataset.image_sizes, dataset.targets, strict=True)):
        where = str(target.image_id)
        survey.pictures.append(SurveyedPicture(where, dataset.image_path(index), size, index))
        columns = (target.boxes.tolist(), target.labels.tolist(), target.ignore.tolist())
        survey.objects += [
            SurveyedObject(f"{where} object {number}", index, label - 1, tuple(box), ignore)
            for number, (box, label, ignore) in enumerate(zip(*columns, strict=True), start=1)
        ]
    return survey


def survey_folders(folder: Path) -> list[Survey]:
    """Class folders as ImageNet's, DIR/<class>/<picture> or DIR/<split>/<class>/<picture>.

    Returns:
        One survey for each split below `folder`, or one where it holds the classes itself.
    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected folder:DIR with DIR/<split>/<class>/<picture>")
    splits = [child for child in _subfolders(folder) if _subfolders(child)]
    surveys = [_survey_class_folders(split) for split in splits or [folder]]
    compare_classes(surveys, surveys[0].name)
    return surveys


def compare_classes(surveys: Sequence[Survey], first: str) -> None:
    """A finding for each survey with other classes, or in another order, than the first, which is named."""
    for survey in surveys:
        if survey.classes != surveys[0].classes:
            differing = sorted(set(survey.classes) ^ set(surveys[0].classes))
            detail = f"only this set or {first} has {', '.join(differing[:5])}"
            if not differing:
                detail = f"in another order, which labels follow, than in {first}"
            survey.findings.append(find("different_classes", survey.name, detail))


def _survey_class_folders(folder: Path) -> Survey:
    classes = _subfolders(folder)
    survey = Survey(f"folder:{folder}", [path.name for path in classes], annotated=False)
    if not classes:
        detail = "holds no class folders; pictures belong into one folder per class"
        survey.findings.append(find("no_class_folders", folder, detail))
    for path in classes:
        entries = sorted(path.iterdir())
        pictures = [file for file in entries if is_picture(file)]
        if others := count_others(entries):
            survey.findings.append(find("other_suffix", path, others))
        if not pictures:
            detail = f"holds no picture ({', '.join(PICTURE_SUFFIXES)}); fill it or remove it"
            survey.findings.append(find("empty_class_folder", path, detail))
        survey.pictures += [SurveyedPicture(f"{path.name}/{p.name}", p, None) for p in pictures]
    return survey


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path))
