"""The command: which sets to look at, what is wrong with them, what to print and what to write."""

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from detection.config import DetectionConfig
from detection.data.annotations import joining_problems
from detection.data.dataset_splits import DataConfig, locate_splits, parse_split
from detection.own_sets.dataset_kinds import DATASETS, SplitFiles
from detection.own_sets.given_sets import find_given, parse_given, write_sets
from detection.own_sets.kind_guess import guess_kind
from detection.own_sets.split_opener import SplitOpener
from doctor.box_findings import check_objects, check_turned
from doctor.findings import Finding, as_json, find, is_clean, table
from doctor.masks.mask_survey import PREFIX, survey_masks
from doctor.picture_checks import PictureFacts, inspect_all
from doctor.repair import repair_split, require_absent
from doctor.survey import Survey
from doctor.survey_readers import (
    compare_classes,
    survey_dataset,
    survey_folders,
    survey_layout,
    survey_split,
)
from doctor.training_checks import check_config
from doctor.twins import check_twins
from foundation.atomic_files import write_text
from foundation.errors import UserError, plural
from pictures.annotations.coco_split import CocoSplit
from training.command import say
from training.config import load_config

FORMS = (
    "coco:ANNOTATIONS.json[:PICTURE_FOLDER], voc:DEVKIT/VOC2007:trainval, folder:DIR, "
    "imagenet_det:ILSVRC[:SPLIT], imagenet_loc:ILSVRC[:SPLIT], segmentation:KIND:ROOT[:SPLIT], or "
    "KIND:ROOT[:SPLIT] of a folder in any layout, KIND as data.kind; a ROOT alone is looked at for its kind"
)


class Examination(NamedTuple):
    """The facts of every survey's pictures, and everything found, in the order of the sets."""

    facts: list[list[PictureFacts]]
    findings: list[Finding]


def diagnose(
    sets: Sequence[str],
    *,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    quick: bool = False,
    json_file: Path | None = None,
    repair: Path | None = None,
    coco: Path | None = None,
    yolo: Path | None = None,
    workers: int = 2,
) -> bool:
    """Prints what is wrong with data sets, or with a configuration and its sets.

    Args:
        sets: as `FORMS`; none with a configuration. The kind of a folder alone is guessed, and said.
        json_file: written with everything found.
        repair: the file or folder to write repaired annotations to.
        coco, yolo: the file and the folder to write the sets to in these layouts, as `set_writers` does.
        quick, workers: as of `examine`.
    Returns:
        Whether nothing is worse than a note.
    Raises:
        UserError: the sets or the configuration cannot be read, or nothing of this kind can be repaired.
    """
    if workers < 1:
        raise UserError(f"--workers must be 1 or more, got {workers}")
    if config is None and not sets:
        raise UserError("nothing to check: name a set, for instance coco:ANNOTATIONS.json, or --config FILE")
    sets = [with_kind(text) for text in sets]
    lines: list[str] = []
    findings: list[Finding] = []
    if config is None:
        opened = [open_set(text) for text in sets]
        _compare_given([found[0] for found in opened])
        surveys = [survey for found in opened for survey in found]
        lines = [described for survey in surveys if (described := _described(survey))]
    else:
        loaded = load_config(DetectionConfig, config, overrides)
        training, validation = sets_of(loaded.data)
        report = check_config(loaded, training, str(config))
        lines, findings = report.lines, report.findings
        surveys = training + validation
    if repair is not None:
        files = _files_to_repair(sets, surveys)
        require_absent(repair)
    examination = examine(surveys, quick=quick, workers=workers)
    findings += examination.findings
    if lines:
        say("\n".join(lines), end="\n\n")
    say(table(findings))
    say("clean" if is_clean(findings) else "not clean: errors or warnings above")
    if json_file is not None:
        write_text(json_file, json.dumps({"config": lines, **as_json(findings)}, indent=1))
    if repair is not None:
        changes = repair_split(files, surveys[0], examination.facts[0], repair)
        say("\n".join([*changes, f"{repair}: {len(changes)} changes"]))
    for line in write_sets(sets, coco, yolo):
        say(line)
    return is_clean(findings)


def _files_to_repair(sets: Sequence[str], surveys: Sequence[Survey]) -> SplitFiles:
    """The files of the one set that is given; UserError where there are others, or none that are repaired."""
    given = " ".join(sets) or "a configuration"
    if len(sets) != 1 or sets[0].startswith(("folder:", PREFIX)):
        raise UserError(f"--repair takes one coco: or voc: set, got {given}")
    if surveys[0].layout:
        raise UserError(f"--repair takes files of COCO or a devkit; write {given} with --write-coco first")
    if (files := parse_split(given)) is not None:
        return files
    located = _located(given)
    if len(located) != 1:
        raise UserError(f"--repair takes one split, got {given}; name it, as in {given}:train")
    return located[0]


def with_kind(text: str) -> str:
    """KIND:ROOT of a ROOT alone, by what it holds, which is said; other texts as they are."""
    kind = guess_kind(Path(text)) if Path(text).exists() else None
    if kind is None:
        return text
    say(f"{text} looks like {kind}:{text}")
    return f"{kind}:{text}"


def open_set(text: str) -> list[Survey]:
    """The surveys of a set as the command line writes it; UserError where its form or files are wrong."""
    if text.startswith(PREFIX):
        return survey_masks(text)
    if text.startswith("folder:") and text != "folder:":
        return survey_folders(Path(text.removeprefix("folder:")))
    if (found := find_given(text)) is not None:
        surveys = [survey_layout(given.layout, given.text) for given in found]
        for given, survey in zip(found, surveys, strict=True):
            survey.layout = given.what
        return surveys
    if files := _located(text):
        return [survey_split(split) for split in files]
    split = parse_split(text)
    if split is None:
        raise UserError(f"{text!r} is no set; expected {FORMS}")
    if isinstance(split, CocoSplit) and split.annotation_file.is_file() and not split.pictures.is_dir():
        file, folder = split
        raise UserError(f"{folder}: no such folder for the pictures of {file}; write coco:{file}:FOLDER")
    return [survey_split(split)]


def _located(text: str) -> list[SplitFiles]:
    """The splits of KIND:ROOT[:SPLIT] of a kind whose files lie where it says; none of other texts."""
    given = parse_given(text)
    if given is None or DATASETS[given.kind].find is not None:
        return []
    kind = DATASETS[given.kind]
    names = [given.split] if given.split else kind.splits(None)
    return [files for name in names for files in (kind.locate(Path(given.root), name) if kind.locate else ())]


def _described(survey: Survey) -> str:
    """What was found of a set that was looked for; nothing of one whose files were named."""
    if not survey.layout:
        return ""
    classes = f"{plural(len(survey.classes), 'class', 'classes')} ({', '.join(survey.classes[:20])})"
    return (
        f"{survey.name}: {survey.layout}, {plural(len(survey.pictures), 'picture')}, "
        f"{plural(len(survey.objects), 'object')}, {classes}"
    )


def _compare_given(surveys: Sequence[Survey]) -> None:
    """Findings where sets given together have other classes; boxes and class folders are apart."""
    for annotated in (True, False):
        alike = [survey for survey in surveys if survey.annotated == annotated]
        if alike:
            compare_classes(alike, alike[0].name)


def sets_of(data: DataConfig) -> tuple[list[Survey], list[Survey]]:
    """The surveys of a configuration's training and validation sets; UserError where files are missing."""
    opened = SplitOpener()
    training, validation = (_surveys(data, split, opened) for split in (data.train, data.val))
    for role, surveys in (("train", training), ("val", validation)):
        for survey in surveys:
            survey.role = role
        for first, second in combinations(surveys, 2):
            second.findings += [
                find(problem.check, second.name, f"with {first.name}: {problem.text}")
                for problem in joining_problems(first, second)
            ]
    compare_classes([training[0], validation[0]], "data.train")
    return training, validation


def _surveys(data: DataConfig, split: str, opened: SplitOpener) -> list[Survey]:
    if (layouts := opened.layouts(data, split)) is not None:
        return [survey_layout(layout, f"{data.kind}:{data.folder}:{split}") for layout in layouts]
    if DATASETS[data.kind].locate is None:
        return [survey_dataset(opened(data, split), f"{data.kind}:{split}")]
    return [survey_split(files) for files in locate_splits(data, split)]


def examine(surveys: Sequence[Survey], *, quick: bool = False, workers: int = 2) -> Examination:
    """Looks at objects, files, duplicates and, where there are several sets, leaks.

    Args:
        quick: read headers only, which tell nothing of truncated pictures and those that look alike.
        workers: threads that read pictures.
    """
    facts = [inspect_all(survey.pictures, quick=quick, workers=workers) for survey in surveys]
    findings: list[Finding] = []
    for survey, rows in zip(surveys, facts, strict=True):
        findings += survey.findings + check_objects(survey) + check_turned(survey, rows)
        findings += [finding for row in rows for finding in row.findings]
    return Examination(facts, findings + check_twins(surveys, facts))
