"""The report of one or several run folders as one HTML file.

Another kind of run is a module that tells its story, and a line of `KINDS`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from foundation.atomic_files import write_text
from foundation.errors import UserError
from foundation.file_reading import read_text, readable
from foundation.yaml12 import read_yaml
from reporting import (
    analysis_story,
    classifier_story,
    detector_story,
    localization_story,
    run_facts,
    segmentation_story,
)
from reporting.comparison.classifier_comparison import compare_classifiers
from reporting.comparison.detector_comparison import compare_detectors
from reporting.comparison.localization_comparison import compare_localizers
from reporting.comparison.segmentation_comparison import compare_segmenters
from reporting.page.page_parts import Note, Section, Story
from reporting.page.page_rendering import Page, render
from training.progress.versions import describe_versions

logger = logging.getLogger(__name__)
PAGE = "report.html"
Is = Callable[[Path, Mapping[str, Any] | None, Mapping[str, Any] | None], bool]


@dataclass(frozen=True)
class RunKind:
    """A kind of folder.

    Attributes:
        made_by: the command that makes such folders, for errors.
        recognise: from the folder, the sections of its config.yaml and its result.json, None without these.
        tell: (folder, name on the page, resamples) gives the story, and what `compare` needs.
        compare: several of them; None where there is nothing to compare. Kinds that share it are compared
            with each other.
    """

    made_by: str
    recognise: Is
    tell: Callable[[Path, str, int], tuple[Story, Any]]
    compare: Callable[[Sequence[Any], int], list[Section]] | None


KINDS = (
    RunKind(
        "pretrain.py",
        classifier_story.is_training,
        classifier_story.tell_training,
        compare_classifiers,
    ),
    RunKind(
        "train_loc.py", localization_story.is_training, localization_story.tell_training, compare_localizers
    ),
    RunKind(
        "train_seg.py", segmentation_story.is_training, segmentation_story.tell_training, compare_segmenters
    ),
    RunKind(
        "train_det.py",
        detector_story.is_training,
        detector_story.tell_training,
        compare_detectors,
    ),
    RunKind(
        "eval_loc.py --out",
        localization_story.is_evaluation,
        localization_story.tell_evaluation,
        compare_localizers,
    ),
    RunKind(
        "eval_seg.py --out",
        segmentation_story.is_evaluation,
        segmentation_story.tell_evaluation,
        compare_segmenters,
    ),
    RunKind("analyze.py --out", analysis_story.is_analysis, analysis_story.tell_analysis, None),
    RunKind(
        "eval_cls.py --out",
        classifier_story.is_evaluation,
        classifier_story.tell_evaluation,
        compare_classifiers,
    ),
    RunKind(
        "eval_det.py --out",
        detector_story.is_evaluation,
        detector_story.tell_evaluation,
        compare_detectors,
    ),
)


def write_report(folders: Sequence[Path], out: Path | None, resamples: int) -> Path:
    """Writes the report, and returns its file.

    Args:
        folders: of runs, evaluations and analyses.
        out: file to write; by default report.html in the only folder.
        resamples: of the pictures, for intervals by the bootstrap and for differences.
    Raises:
        UserError: a folder is not there or of no kind, a file of it is damaged, or `out` is missing.
    """
    if resamples < 1:
        raise UserError(f"--resamples must be 1 or more, got {resamples}")
    if out is None and len(folders) > 1:
        raise UserError(
            f"a report of {len(folders)} runs lies in none of them: say where with --out FILE.html"
        )
    out = out or folders[0] / PAGE
    if out.is_dir():
        raise UserError(
            f"--out {out} is a folder, expected a file; name one in it, for instance {out / PAGE}"
        )
    for folder in folders:
        if [other.resolve() for other in folders].count(folder.resolve()) > 1:
            raise UserError(f"{folder} is named twice; name each folder once")
    names = name_folders(folders)
    kinds = [find_kind(folder) for folder in folders]
    told = []
    for folder, name, kind in zip(folders, names, kinds, strict=True):
        logger.info("reading %s", folder)
        told.append(kind.tell(folder, name, resamples))
    stories = [story for story, _ in told]
    comparison = (
        compare(kinds, [material for _, material in told], names, resamples) if len(folders) > 1 else []
    )
    title = names[0] if len(names) == 1 else f"{len(names)} runs compared"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, render(Page(title, stories, comparison, _made())))
    return out


def find_kind(folder: Path) -> RunKind:
    """What kind of folder it is.

    Raises:
        UserError: it is not there, of no kind, or what tells its kind is damaged.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise UserError(f"{folder.absolute()} is {found}, expected a run's folder; name one that holds a run")
    config, sections = folder / "config.yaml", None
    if config.is_file():
        remedy = "expected the configuration that the training wrote; copy it from another place"
        text = read_text(config, remedy)
        with readable(config, remedy):
            sections = dict(read_yaml(text))
    result = run_facts.read_result(folder)
    for kind in KINDS:
        if kind.recognise(folder, sections, result):
            return kind
    made_by = ", ".join(kind.made_by for kind in KINDS)
    raise UserError(f"{folder} holds no run: expected the folder of one of {made_by}")


def compare(
    kinds: Sequence[RunKind], materials: Sequence[Any], names: Sequence[str], resamples: int
) -> list[Section]:
    """The comparisons of what can be compared, and a line on what cannot."""
    sections, alone = [], []
    for how in dict.fromkeys(kind.compare for kind in kinds):
        chosen = [i for i, kind in enumerate(kinds) if kind.compare is how]
        if how is not None and len(chosen) > 1:
            sections += how([materials[i] for i in chosen], resamples)
        else:
            alone += [names[i] for i in chosen]
    if alone:
        text = f"Not compared, for there is nothing of the same kind: {', '.join(alone)}."
        sections.append(Section("The others", [Note(text)]))
    return sections


def name_folders(folders: Sequence[Path]) -> list[str]:
    """A name for each: its last part, and as much of the path as tells it from the others."""
    paths = [folder.resolve() for folder in folders]
    names = []
    for path in paths:
        length, others = 1, [other.parts for other in paths if other != path]
        while any(path.parts[-length:] == parts[-length:] for parts in others):
            length += 1
        names.append("/".join(path.parts[-length:]))
    return names


def _made() -> str:
    date = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"Made on {date} by tools/report.py with {describe_versions()}."
