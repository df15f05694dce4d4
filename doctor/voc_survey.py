"""PASCAL VOC splits read file by file; every fault becomes a finding, and the reading goes on."""

import math
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from detection.data.voc_dataset import VOC_CLASSES, VocSplit
from doctor.findings import Finding, find
from doctor.survey import Picture, Survey, Thing
from foundation.errors import suggest


def survey_voc(split: VocSplit) -> Survey:
    """One split of one year.

    Raises:
        UserError: the split has no list.
    """
    survey = Survey(f"voc:{split.folder}:{split.name}", list(VOC_CLASSES), clips=False)
    listed, annotated = split.image_ids(), not split.is_secret()
    for name in (name for name, count in Counter(listed).items() if count > 1):
        survey.findings.append(find("duplicate_image_id", name, f"stands several times in {split.name}.txt"))
    for name in dict.fromkeys(listed):
        if annotated:
            _survey_picture(split, name, survey)
        else:
            survey.pictures.append(Picture(name, split.image_path(name), None))
    return survey


def _survey_picture(split: VocSplit, name: str, survey: Survey) -> None:
    path = split.annotation_file(name)
    root = read_xml(path)
    if isinstance(root, str):
        survey.findings.append(find("malformed_entry", path, root))
    size = None if isinstance(root, str) else stated_size(root)
    if size is None and not isinstance(root, str):
        detail = "no <size> with width and height of whole pixels above 0"
        survey.findings.append(find("malformed_entry", path, detail))
    survey.pictures.append(Picture(name, split.image_path(name), size))
    if isinstance(root, str):
        return
    for number, node in enumerate(root.findall("object")):
        where = f"{name}.xml object {number + 1}"
        category = class_of(node, where, survey.findings)
        box = box_of(node, where, survey.findings)
        if category is not None and box is not None:
            difficult = node.findtext("difficult", "0").strip() == "1"
            survey.objects.append(Thing(where, len(survey.pictures) - 1, category, box, difficult, number))


def read_xml(path: Path) -> ET.Element | str:
    """The root of an annotation, or why there is none."""
    try:
        return ET.parse(path).getroot()
    except FileNotFoundError:
        return "missing, though the split lists its picture"
    except ET.ParseError as error:
        return f"not a readable XML file ({error})"


def stated_size(root: ET.Element) -> tuple[int, int] | None:
    """(height, width) of an annotation, None where it is not whole pixels above 0."""
    height, width = (_number(root.findtext(f"size/{side}")) for side in ("height", "width"))
    if not all(math.isfinite(side) and side >= 1 for side in (height, width)):
        return None
    return int(height), int(width)


def class_of(node: ET.Element, where: str, findings: list[Finding]) -> int | None:
    """The class's place among VOC's, or None and a finding."""
    name = (node.findtext("name") or "").strip()
    if name in VOC_CLASSES:
        return VOC_CLASSES.index(name)
    findings.append(find("unknown_category", where, f"{name!r} is none of VOC's{suggest(name, VOC_CLASSES)}"))
    return None


def box_of(node: ET.Element, where: str, findings: list[Finding]) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2 as the loader reads them (1-based and inclusive in the file), or None and a finding."""
    texts = [node.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    xmin, ymin, xmax, ymax = map(_number, texts)
    if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
        findings.append(find("malformed_box", where, f"bndbox {texts}, expected four numbers"))
        return None
    if xmax < xmin or ymax < ymin:
        detail = f"bndbox {xmin:g}, {ymin:g}, {xmax:g}, {ymax:g} ends before it begins"
        findings.append(find("negative_box", where, detail))
        return None
    return xmin - 1, ymin - 1, xmax, ymax


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan
