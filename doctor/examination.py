"""From what stands on the command line, or in a configuration, to surveys and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detection.data.coco_dataset import CocoSplit
from detection.data.dataset_splits import DataConfig, locate_splits, parse_split
from detection.data.voc_dataset import VocSplit
from doctor.box_findings import check_objects
from doctor.coco_survey import survey_coco
from doctor.findings import Finding, find
from doctor.folder_survey import survey_folders
from doctor.picture_checks import Facts, inspect_all
from doctor.survey import Survey
from doctor.twins import check_twins
from doctor.voc_survey import survey_voc
from foundation.errors import UserError

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
    if text.startswith("folder:") and text != "folder:":
        return survey_folders(Path(text.removeprefix("folder:")))
    split = parse_split(text)
    if split is None:
        raise UserError(f"{text!r} is no set; expected {FORMS}")
    if isinstance(split, CocoSplit) and split.annotation_file.is_file() and not split.pictures.is_dir():
        file, folder = split
        raise UserError(f"{folder}: no such folder for the pictures of {file}; write coco:{file}:FOLDER")
    return [_survey(split)]


def _survey(split: CocoSplit | VocSplit) -> Survey:
    return survey_coco(*split) if isinstance(split, CocoSplit) else survey_voc(split)


def sets_of(data: DataConfig) -> tuple[list[Survey], list[Survey]]:
    """The surveys of a configuration's training and validation sets.

    Raises:
        UserError: the files are not there.
    """
    training, validation = (
        [_survey(files) for files in locate_splits(data, split)] for split in (data.train, data.val)
    )
    for part, surveys in (("train", training), ("val", validation)):
        for survey in surveys:
            survey.part = part
    for survey in [*training, *validation]:
        if survey.classes != training[0].classes:
            differing = sorted(set(training[0].classes) ^ set(survey.classes))
            detail = f"not those of data.train, or in another order: {', '.join(differing[:5])}"
            survey.findings.append(find("different_classes", survey.name, detail))
    return training, validation
