"""What there is to say of localization: a training, or an evaluation of tools/eval_loc.py."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.localization.localization_config import LocalizationConfig
from detection.localization.localization_result import NAMES, JudgedPictures, load_judged_pictures
from detection.metrics.bootstrap import mean_resamples
from reporting import run_facts
from reporting.learning_curves import Entries, draw_curves, read_entries
from reporting.page.page_parts import Note, Section, Story
from reporting.page.wording import share_with_interval
from reporting.picture_intervals import SEED, Intervals, interval, kept_pictures, score_section
from training.config import load_config

NETWORKS = {"rpn": "per-class RPN", "rcnn": "R-CNN on the RPN's proposals"}


@dataclass(frozen=True)
class LocalizationRun:
    """What a comparison of localizers needs of one.

    Attributes:
        config: of its training; None where it is not known.
        entries: what its training reported.
        pictures: None where nothing is known of single pictures.
    """

    name: str
    config: LocalizationConfig | None
    entries: Entries
    scores: Mapping[str, float | None]
    intervals: Intervals
    pictures: JudgedPictures | None


def is_training(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/train_loc.py."""
    return sections is not None and "regions" in sections


def is_evaluation(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/eval_loc.py."""
    return sections is None and result is not None and result.get("metric") == "localization"


def tell_training(folder: Path, name: str, resamples: int) -> tuple[Story, LocalizationRun]:
    """The story of a training.

    Raises:
        UserError: a file is damaged, or the run was never evaluated.
    """
    config = load_config(LocalizationConfig, folder / "config.yaml")
    entries, notes = read_entries(folder / "metrics.jsonl")
    result = run_facts.result_so_far(folder, entries, notes)
    pictures, intervals, more = _judged(folder, result, resamples)
    start = config.backbone.weights or "random weights"
    rows = [
        ("Network", f"{NETWORKS[config.step]}, {config.backbone.name} from {start}"),
        ("Data", f"trained on {config.data.kind} {config.data.train}, scored on {config.data.val}"),
        *run_facts.of_training(folder, config, result),
    ]
    sections = [
        run_facts.facts(rows),
        score_section(result, NAMES, intervals, notes + more),
        Section("Curves", draw_curves(entries)),
        *run_facts.pictures_of(folder),
        run_facts.repeat("train_loc", folder),
        *run_facts.appendix(folder, config),
    ]
    told = [section for section in sections if section.parts]
    kind = f"training of localization, {config.data.kind} {config.data.val}"
    story = Story(name, kind, _headline(result, intervals), told)
    return story, LocalizationRun(name, config, entries, result["scores"], intervals, pictures)


def tell_evaluation(folder: Path, name: str, resamples: int) -> tuple[Story, LocalizationRun]:
    """The story of a folder of tools/eval_loc.py; the errors are those of `tell_training`."""
    result = run_facts.read_result(folder)
    assert result is not None  # else it were no such folder
    about = result.get("evaluated", {})
    rows = [(key.capitalize(), str(about[key])) for key in ("weights", "sha256") if key in about]
    rows += [("Joined", f"{len(about['members'])} files of boxes")] if "members" in about else []
    rows += run_facts.when(folder)
    config = run_facts.evaluated_config(LocalizationConfig, folder, about) if "weights" in about else None
    pictures, intervals, notes = _judged(folder, result, resamples)
    sections = [run_facts.facts(rows), score_section(result, NAMES, intervals, notes)]
    story = Story(name, "evaluation of localization", _headline(result, intervals), sections)
    return story, LocalizationRun(name, config, (), result["scores"], intervals, pictures)


def _headline(result: Mapping[str, Any], intervals: Intervals) -> str:
    scores = result["scores"]
    best = "top5_error" if "top5_error" in scores else "oracle_error"
    return f"Localization: {NAMES[best]} {share_with_interval(scores.get(best), intervals.get(best))} %"


def _judged(
    folder: Path, result: Mapping[str, Any], resamples: int
) -> tuple[JudgedPictures | None, Intervals, list[Note]]:
    """Which pictures are wrong; without them the intervals that the evaluation has written, if any."""
    kept, notes = kept_pictures(folder, result, load_judged_pictures, "eval_loc")
    if kept is None:
        return None, result.get("intervals", {}), notes
    found = {name: interval(mean_resamples(wrong, resamples, SEED)) for name, wrong in kept.wrong.items()}
    return kept, found, notes
