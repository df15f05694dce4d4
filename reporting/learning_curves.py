"""The learning curves of a run as charts, from what its metrics.jsonl holds."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detection.localization.localization_result import NAMES as LOCALIZATION
from foundation.errors import UserError
from foundation.file_reading import readable
from reporting.page.page_parts import Chart, Charts, Note
from reporting.page.svg_charts import SERIES, Axis, Line, line_chart
from segmentation.results.segmentation_result import NAMES as SEGMENTATION

POINTS = 240  # of a line; more reports are averaged in groups
# Scores of detectors, of segmentation and of localization that are drawn, 0…1 in the file.
PER_CENT = ("AP", "AP50", "AP75", "mAP", "segm/AP", "mIoU", "pixel_accuracy", "oracle_error")
TITLES = {
    "loss": ("Loss", "nats"),
    "top1_error": ("Top-1 error", "%"),
    "top5_error": ("Top-5 error", "%"),
}

OTHER_LOSSES = "Runs whose losses have other terms or weights do not compare here."

Entries = Sequence[Mapping[str, Any]]


def read_entries(file: Path) -> tuple[list[dict[str, Any]], list[Note]]:
    """The lines of metrics.jsonl, and what is wrong with them: damaged lines are left out and counted."""
    if not file.is_file():
        return [], [Note(f"No curves: there is no {file.name} in the folder.")]
    entries, damaged = [], 0
    with readable(file, "copy it again, or remove it for a report without curves"):
        lines = file.read_bytes().splitlines()
    for line in lines:
        try:
            entry = json.loads(line)
            entries.append({**entry, "step": int(entry["step"])})
        except (ValueError, TypeError, KeyError):
            damaged += 1
    of = f"{damaged} of {len(lines)} lines of {file.name} are damaged and left out of the curves."
    return entries, [Note(of, warning=True)] if damaged else []


def last_scores(entries: Entries) -> tuple[int, dict[str, Any]]:
    """Step and scores of the last evaluation that the metrics tell of.

    Raises:
        UserError: there was none.
    """
    for entry in reversed(entries):
        scores = {name.removeprefix("val/"): x for name, x in entry.items() if name.startswith("val/")}
        if scores:
            return entry["step"], scores
    raise UserError("the run has not been evaluated yet; wait for its first evaluation")


def draw_curves(entries: Entries) -> list[Charts]:
    """Charts of what was reported: losses, errors, scores and the learning rate."""
    names = dict.fromkeys(name for entry in entries for name in entry if name != "step")
    training = [name for name in names if not name.startswith("val/") and name != "lr"]
    both = [name for name in training if f"val/{name}" in names]
    charts = [_training_and_validation(entries, name) for name in both]
    if terms := [name for name in training if name not in both]:
        charts.append(_losses(entries, terms))
    if scores := [name for name in PER_CENT if f"val/{name}" in names]:
        charts.append(_scores(entries, scores))
    if "lr" in names:
        x, y = series(entries, "lr")
        svg = line_chart([Line(x, y, 0)], Axis("step", 0), Axis("learning rate", 0), title="Learning rate")
        charts.append(Chart("Learning rate", svg))
    return [Charts(charts)] if charts else []


def series(entries: Entries, name: str, factor: float = 1.0) -> tuple[list[float], list[float]]:
    """Steps and values of one name; long ones as means of equal groups, validation's as they are."""
    points = [(entry["step"], _number(entry[name]) * factor) for entry in entries if name in entry]
    group = 1 if name.startswith("val/") else max(1, math.ceil(len(points) / POINTS))
    parts = [points[start : start + group] for start in range(0, len(points), group)]
    means = [(sum(s for s, _ in part) / len(part), sum(v for _, v in part) / len(part)) for part in parts]
    return [step for step, _ in means], [value for _, value in means]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _training_and_validation(entries: Entries, name: str) -> Chart:
    title, unit = TITLES.get(name, (name, ""))
    lines = [Line(*series(entries, name), 1), Line(*series(entries, f"val/{name}"), 0, bold=True)]
    axis = Axis(f"{title.lower()}, {unit}" if unit else title, 0)
    legend = [(0, "validation"), (1, "training, on augmented pictures")]
    return Chart(title, line_chart(lines, Axis("step", 0), axis, title=f"{title} by step"), legend)


def _losses(entries: Entries, terms: Sequence[str]) -> Chart:
    lines = [Line(*series(entries, name), number) for number, name in enumerate(terms, start=1)]
    legend = [(number, name.replace("_", " ")) for number, name in enumerate(terms, start=1)]
    if len(terms) > 1:
        lines.append(Line(*_sum(entries, terms), 0, bold=True))
        legend.insert(0, (0, "their sum"))
    svg = line_chart(lines, Axis("step", 0), Axis("loss, nats", 0), title="Training losses by step")
    return Chart("Training losses", svg, legend)


def _sum(entries: Entries, terms: Sequence[str]) -> tuple[list[float], list[float]]:
    """Steps and the sum of the terms, where all are reported."""
    whole = [
        {"step": entry["step"], "sum": sum(_number(entry[name]) for name in terms)}
        for entry in entries
        if all(name in entry for name in terms)
    ]
    return series(whole, "sum")


def _scores(entries: Entries, names: Sequence[str]) -> Chart:
    lines = [Line(*series(entries, f"val/{name}", 100), i, bold=i == 0) for i, name in enumerate(names)]
    what = "error" if all(name.endswith("_error") for name in names) else "score"
    svg = line_chart(lines, Axis("step", 0), Axis(f"{what}, %", 0), title=f"Validation {what}s by step")
    return Chart(f"Validation {what}s", svg, [(i, _score_name(name)) for i, name in enumerate(names)])


def _score_name(name: str) -> str:
    if name in TITLES:
        return TITLES[name][0].lower()
    name = {**SEGMENTATION, **LOCALIZATION}.get(name, name.replace("_", " "))
    return f"{name.removeprefix('segm/')} of masks" if name.startswith("segm/") else name


def draw_together(runs: Mapping[str, Entries], score: str) -> list[Charts]:
    """A validation score, and the sum of the training losses, with a line for each run that reports it.

    Args:
        runs: what each has reported, nothing of an evaluation, by its name.
        score: per cent where it is one of `TITLES`, else 0…1.
    Returns:
        Nothing where fewer than two runs have reports.
    """
    reported = {name: entries for name, entries in runs.items() if entries}
    if len(reported) < 2:
        return []
    factor = 1 if score in TITLES else 100
    scores = {name: series(entries, f"val/{score}", factor) for name, entries in reported.items()}
    losses = {}
    for name, entries in reported.items():
        terms = dict.fromkeys(key for entry in entries for key in entry if key.startswith("loss"))
        losses[name] = _sum(entries, [*terms])
    words = _score_name(score)
    return [
        Charts(
            [
                _together(f"Validation: {words}", f"{words}, %", scores),
                _together("Sum of the training losses", "loss, nats", losses, OTHER_LOSSES),
            ]
        )
    ]


def _together(
    title: str, unit: str, found: Mapping[str, tuple[list[float], list[float]]], note: str = ""
) -> Chart:
    """A line for each run that has points: in a colour as far as these go, the others in grey."""
    drawn = [(name, points) for name, points in found.items() if points[0]]
    numbers = [place if place < SERIES else None for place in range(len(drawn))]
    lines = [Line(*points, number) for (_, points), number in zip(drawn, numbers, strict=True)]
    legend = [(number, name) for (name, _), number in zip(drawn, numbers, strict=True) if number is not None]
    if len(drawn) > SERIES:
        note = f"Grey are the other {len(drawn) - SERIES}. {note}"
    svg = line_chart(lines, Axis("step", 0), Axis(unit, 0), title=f"{title} by step")
    return Chart(title, svg, legend, note.strip())
