"""From what stands on the command line, or in a configuration, to surveys and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detection.build import PLACES
from detection.config import DataConfig
from detection.data.shapes_scenes import ensure_shapes
from doctor.box_findings import check_objects
from doctor.coco_survey import survey_coco
from doctor.findings import Finding, find
from doctor.folder_survey import survey_folders
from doctor.picture_checks import Facts, inspect_all
from doctor.survey import Survey
from doctor.twins import check_twins
from doctor.voc_survey import survey_voc
from foundation.errors import UserError
from training.config import data_root

FORMS = "coco:ANNOTATIONS.json[:PICTURE_FOLDER], voc:DEVKIT/VOC2007:trainval or folder:DIR"


@dataclass
class Examination:
    """Surveys, the facts of their pictures, and everything found, in the order of the sets."""

    surveys: list[Survey]
    facts: list[list[Facts]]
    findings: list[Finding]


def examine(surveys: Sequence[Survey], *, quick: bool = False, workers: int = 2) -> Examination:
    """Looks at objects, files, duplicates and, where there are several sets, leaks.

    Args:
        quick: read headers of pictures instead of decoding them: nothing is said of truncated pictures and
            of those that only look alike.
        workers: threads that read pictures.
    """
    facts = [inspect_all(survey.pictures, quick=quick, workers=workers) for survey in surveys]
    findings = []
    for survey, rows in zip(surveys, facts, strict=True):
        findings += survey.findings + check_objects(survey)
        findings += [finding for row in rows for finding in row.findings]
    return Examination(list(surveys), facts, findings + check_twins(surveys, facts))


def open_sets(texts: Sequence[str]) -> list[Survey]:
    """The surveys of sets as the command line writes them.

    Raises:
        UserError: a text has another form, or the files are not there.
    """
    return [survey for text in texts for survey in _open_set(text)]


def _open_set(text: str) -> list[Survey]:
    kind, _, rest = text.partition(":")
    if kind == "coco" and rest:
        file, _, folder = rest.partition(":")
        return [survey_coco(Path(file), Path(folder) if folder else _picture_folder(Path(file)))]
    if kind == "folder" and rest:
        return survey_folders(Path(rest))
    place, _, split = rest.rpartition(":")
    if kind == "voc" and place and split:
        return [survey_voc(Path(place), split)]
    raise UserError(f"{text!r} is no set; expected {FORMS}")


def _picture_folder(file: Path) -> Path:
    """COCO's own place: annotations/instances_val2017.json has its pictures in val2017."""
    folder = file.parent.parent / file.stem.removeprefix("instances_")
    if file.is_file() and not folder.is_dir():
        raise UserError(f"{folder}: no such folder for the pictures of {file}; write coco:{file}:FOLDER")
    return folder


def sets_of(data: DataConfig) -> tuple[list[Survey], list[Survey]]:
    """The surveys of a configuration's training and validation sets.

    Raises:
        UserError: the files are not there.
    """
    training, validation = (_of_split(data, split) for split in (data.train, data.val))
    for part, surveys in (("train", training), ("val", validation)):
        for survey in surveys:
            survey.part = part
    if training[0].classes != validation[0].classes:
        differing = sorted(set(training[0].classes) ^ set(validation[0].classes))
        detail = f"not those of data.train, or in another order: {', '.join(differing[:5])}"
        validation[0].findings.append(find("different_classes", validation[0].name, detail))
    return training, validation


def _of_split(data: DataConfig, split: str) -> list[Survey]:
    folder = data_root() / PLACES[data.kind] if data.root is None else Path(data.root)
    if data.kind == "voc":
        parts = [part.partition(":") for part in split.split("+")]
        return [survey_voc(folder / f"VOC{year}", name) for year, _, name in parts]
    if data.kind == "shapes":
        folder = ensure_shapes(folder).coco
    return [survey_coco(folder / "annotations" / f"instances_{split}.json", folder / split)]
