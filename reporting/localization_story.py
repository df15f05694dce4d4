"""What there is to say of localization: a training, or an evaluation of tools/eval_loc.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detection.localization.localization_config import LocalizationConfig
from detection.localization.localization_result import NAMES
from reporting import run_facts
from reporting.learning_curves import draw_curves, read_entries
from reporting.page.page_parts import Note, Section, Story, Table
from reporting.page.wording import per_cent, with_interval
from training.config import load_config

NETWORKS = {"rpn": "per-class RPN", "rcnn": "R-CNN on the RPN's proposals"}


def is_training(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/train_loc.py."""
    return sections is not None and "regions" in sections


def is_evaluation(folder: Path, sections: Mapping[str, Any] | None, result: Mapping[str, Any] | None) -> bool:
    """Whether the folder is of tools/eval_loc.py."""
    return sections is None and result is not None and result.get("metric") == "localization"


def tell_training(folder: Path, name: str, resamples: int) -> tuple[Story, None]:
    """The story of a training.

    Raises:
        UserError: a file is damaged, or the run was never evaluated.
    """
    config = load_config(LocalizationConfig, folder / "config.yaml")
    entries, notes = read_entries(folder / "metrics.jsonl")
    result = run_facts.result_so_far(folder, entries, notes)
    start = config.backbone.weights or "random weights"
    rows = [
        ("Network", f"{NETWORKS[config.step]}, {config.backbone.name} from {start}"),
        ("Data", f"trained on {config.data.kind} {config.data.train}, scored on {config.data.val}"),
        *run_facts.of_training(folder, config, result),
    ]
    sections = [
        run_facts.facts(rows),
        _figures(result, notes),
        Section("Curves", draw_curves(entries)),
        *run_facts.pictures_of(folder),
        run_facts.repeat("train_loc", folder),
        *run_facts.appendix(folder, config),
    ]
    told = [section for section in sections if section.parts]
    kind = f"training of localization, {config.data.kind} {config.data.val}"
    return Story(name, kind, _headline(result), told), None


def tell_evaluation(folder: Path, name: str, resamples: int) -> tuple[Story, None]:
    """The story of a folder of tools/eval_loc.py; the errors are those of `tell_training`."""
    result = run_facts.read_result(folder)
    assert result is not None  # else it were no such folder
    about = result.get("evaluated", {})
    rows = [(key.capitalize(), str(about[key])) for key in ("weights", "sha256") if key in about]
    rows += [("Joined", f"{len(about['members'])} files of boxes")] if "members" in about else []
    rows += run_facts.when(folder)
    return (
        Story(
            name,
            "evaluation of localization",
            _headline(result),
            [run_facts.facts(rows), _figures(result, [])],
        ),
        None,
    )


def _headline(result: Mapping[str, Any]) -> str:
    scores = result["scores"]
    best = "top5_error" if "top5_error" in scores else "oracle_error"
    return f"Localization: {NAMES[best]} {per_cent(scores.get(best))} %"


def _figures(result: Mapping[str, Any], notes: list[Note]) -> Section:
    intervals = result.get("intervals", {})
    rows = [
        [f"{NAMES.get(name, name)}, %", with_interval(per_cent(value), *_ends(intervals.get(name)))]
        for name, value in result["scores"].items()
    ]
    pictures = result.get("pictures")
    counted = f"On {pictures:,} pictures. " if pictures else ""
    how = (
        "Intervals, 95 %, are over the choice of pictures, not over other trainings."
        if intervals
        else "Intervals come with tools/eval_loc.py --bootstrap."
    )
    return Section("Figures", [Table(["figure", "value"], rows), Note(counted + how), *notes])


def _ends(interval: list[float] | None) -> tuple[str, str]:
    low, high = interval or (None, None)
    return per_cent(low), per_cent(high)
