"""What is wrong with the boxes of a survey, and what its objects are like."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from hotcoco import COCO
from numpy.typing import NDArray

from detection.data.annotation_writers import coco_annotation, coco_content, coco_image
from detection.data.annotations import turned_problem
from doctor.findings import Finding, find
from doctor.picture_checks import PictureFacts
from doctor.survey import Survey, clipped
from foundation.errors import plural

TOLERANCE = 0.5  # pixels beyond the border that rounding explains
TINY = 1.0  # pixels of a side


def check_objects(survey: Survey) -> list[Finding]:
    """Boxes, duplicates and counts of an annotated set; of class folders counts alone, of label maps none."""
    findings = [] if survey.pictures else [find("no_pictures", survey.name, "holds no picture")]
    if survey.labelled:
        return findings
    names = [picture.path.parent.name for picture in survey.pictures]
    if survey.annotated:
        names = [survey.classes[item.category] for item in survey.objects]
        findings += [*_check_borders(survey), *_check_duplicates(survey), *_health(survey)]
    counts = ", ".join(f"{name} {count:,}" for name, count in Counter(names).most_common())
    sums = (
        f"{plural(len(survey.pictures), 'picture')}, {plural(len(names), 'object')}, "
        f"{plural(len(survey.classes), 'class', 'classes')}"
    )
    findings.append(find("class_counts", survey.name, f"{sums}: {counts}"))
    if not survey.annotated:
        return findings
    used = {item.picture for item in survey.objects}
    findings += [
        find("no_objects", picture.where, "no object; trained on as background")
        for index, picture in enumerate(survey.pictures)
        if index not in used
    ]
    word = "crowds" if survey.ignored == "crowd" else "difficult objects"
    return findings + [
        find(survey.ignored, item.where, f"one of the {word}, which count neither as found nor as missed")
        for item in survey.objects
        if item.ignore
    ]


def _check_borders(survey: Survey) -> list[Finding]:
    boxes, sizes = survey.boxes(), survey.sizes()
    inside = clipped(boxes, sizes)
    gone: NDArray[np.bool_] = np.asarray((inside[:, 2:] <= inside[:, :2]).any(axis=1))
    beyond = np.abs(boxes - inside).max(axis=1, initial=0)
    findings = []
    for row in np.flatnonzero(gone | (beyond > TOLERANCE)):
        height, width = sizes[row]
        detail = f"{_text(boxes[row])} in a picture of {width:g}x{height:g}"
        check = "outside_box" if gone[row] else "crossing_box"
        findings.append(find(check, survey.objects[row].where, detail))
    tiny = ~gone & ((inside[:, 2:] - inside[:, :2]).min(axis=1, initial=np.inf) < TINY)
    findings += [
        find("tiny_box", survey.objects[row].where, f"{_text(boxes[row])}: a side below {TINY:g} pixel")
        for row in np.flatnonzero(tiny)
    ]
    return findings


def check_turned(survey: Survey, facts: Sequence[PictureFacts]) -> list[Finding]:
    """Pictures whose boxes fit them only turned by EXIF; notes in the facts which size that is."""
    boxes, found = survey.boxes(), []
    owners = np.array([item.picture for item in survey.objects], dtype=np.int64)
    for index, (picture, fact) in enumerate(zip(survey.pictures, facts, strict=True)):
        if picture.size is None or fact.size is None or fact.stored is None or fact.size == fact.stored:
            continue
        problem = turned_problem(boxes[owners == index], picture.size, fact.size, fact.stored)
        if problem:
            fact.fitting = picture.size[::-1]
            found.append(find(problem.check, picture.where, problem.text))
    return found


def _check_duplicates(survey: Survey) -> list[Finding]:
    seen: dict[tuple[Any, ...], str] = {}
    findings = []
    for item in survey.objects:
        key = (item.picture, item.category, item.box)
        if key in seen:
            detail = f"{_text(item.box)}, same box and class as {seen[key]}"
            findings.append(find("duplicate_box", item.where, detail))
        seen.setdefault(key, item.where)
    return findings


def _health(survey: Survey) -> list[Finding]:
    """hotcoco's health check on what has sense, with rows for ids, so that it can tell them apart.

    It finds boxes that nearly coincide, and classes without or with few objects. It would also find repeated
    ids, unknown references, empty and crossing boxes, but not with the entry to blame where ids repeat; and
    it refuses files with a malformed entry, text for an id among them, and lets NaN pass.
    """
    if not survey.objects:
        return []
    report = COCO(as_numbered_coco(survey)).healthcheck()
    found = {warning["code"]: warning["affected_ids"] for warning in report["warnings"]}
    same = {(t.picture, t.category, t.box): row for row, t in reversed(list(enumerate(survey.objects)))}
    findings = []
    for row in sorted(found.get("near_duplicate", ())):  # it gives them in any order
        item = survey.objects[row]
        if same[item.picture, item.category, item.box] == row:
            detail = f"{_text(item.box)} overlaps another of its class with an IoU above 0.95"
            findings.append(find("near_duplicate_box", item.where, detail))
    for code, check, detail in (
        ("zero_instance_category", "unused_category", "no object of this class"),
        ("low_instance_category", "rare_category", "fewer than ten objects of this class"),
    ):
        findings += [find(check, survey.classes[row], detail) for row in sorted(found.get(code, ()))]
    return findings


def as_numbered_coco(survey: Survey) -> dict[str, Any]:
    """A survey as a COCO file whose ids are the rows of its pictures, classes and objects."""
    return coco_content(
        [coco_image(row, item.where, item.size or (1, 1)) for row, item in enumerate(survey.pictures)],
        survey.classes,
        range(len(survey.classes)),
        [
            coco_annotation(row, item.picture, item.category, list(map(float, item.box)), crowd=item.ignore)
            for row, item in enumerate(survey.objects)
        ],
    )


def _text(box: NDArray[np.float64] | tuple[float, ...]) -> str:
    return f"box {' '.join(f'{side:.6g}' for side in box)}"
