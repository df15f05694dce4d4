"""The least score of each class at which all have the same precision, the same recall, or their best F1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from detection.charts.score_counts import ScoreCounts, counts_of_class, counts_together
from detection.metrics.conventions import ClassMatches
from foundation.errors import UserError
from foundation.file_naming import printable


@dataclass(frozen=True)
class Goal:
    """What the thresholds are chosen for: a `value` of precision or recall in every class, or the best F1."""

    measure: Literal["precision", "recall", "f1"]
    value: float | None = None

    def __str__(self) -> str:
        return self.measure if self.value is None else f"{self.measure}={self.value:g}"


def parse_goal(text: str) -> Goal:
    """The goal that --operating-point names: "precision=0.9", "recall=0.8" or "f1".

    Raises:
        UserError: it names none.
    """
    measure, _, number = text.partition("=")
    if text == "f1":
        return Goal("f1")
    measures: dict[str, Literal["precision", "recall"]] = {"precision": "precision", "recall": "recall"}
    if measure not in measures:
        raise UserError(f"--operating-point must be precision=P, recall=R or f1, got {text!r}")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise UserError(
            f"--operating-point {text}: {measure} must be above 0 and at most 1, for instance {measure}=0.9"
        )
    return Goal(measures[measure], value)


def choose_operating_point(
    matches: Sequence[ClassMatches], classes: Sequence[str], goal: Goal, iou: float
) -> dict[str, Any]:
    """A least score for every class, from the matching of the figure at its first overlap, `iou`.

    Of precision the lowest score at which the class reaches the value, so that its recall is the greatest; of
    recall the highest; of F1 the highest at which it is best. Where the value cannot be reached, the score of
    the greatest precision or recall. Where no detection of a class finds an object, nothing can be chosen for
    it alone, and it takes the score chosen for all classes together.

    Args:
        matches: of the classes that have an object which counts.
        classes: K names.
    Returns:
        "goal"; "iou"; "classes": of each, in order of label, its "name", "threshold" (detections of at
        least this score are kept), "reached", "own" (False where the threshold is that of all together) and
        what results: "precision" (None without a detection), "recall" (None without an object), "f1",
        "detections" and "objects"; "one_threshold": the same of one threshold for all classes, with the
        figures of all detections together; "together": these figures with the thresholds of the classes.
    Raises:
        UserError: no detection finds an object, so there is nothing to choose from.
    """
    together = counts_together(matches)
    if not together.objects:
        raise UserError(
            "--operating-point: the data set has no object that counts; choose an annotated split"
        )
    if not together.hits.any():
        raise UserError(
            f"--operating-point: none of {together.kept.max(initial=0)} detections finds one of "
            f"{together.objects} objects at IoU {iou:g}, so there is no threshold to choose; score "
            "a detector that finds something"
        )
    common = together.row(_best_row(together, goal))
    counts = {of_class.label: counts_of_class(of_class) for of_class in matches}
    empty = ScoreCounts(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
    rows, entries = [], []
    for label, name in enumerate(classes, start=1):
        of_class = counts.get(label, empty)
        own = bool(of_class.hits.any())
        row = of_class.row(_best_row(of_class, goal)) if own else of_class.at(common.scores)
        rows.append(row)
        entries.append({"name": name, **_threshold(row, goal), **_outcome(row), "own": own})
    hits = np.concatenate([row.hits for row in rows]).sum(keepdims=True)
    kept = np.concatenate([row.kept for row in rows]).sum(keepdims=True)
    return {
        "goal": str(goal),
        "iou": iou,
        "classes": entries,
        "one_threshold": _threshold(common, goal) | _outcome(common),
        "together": _outcome(ScoreCounts(common.scores, hits, kept, together.objects)),
    }


def _best_row(counts: ScoreCounts, goal: Goal) -> int:
    """The number of the score that serves the goal best; at least one detection is a hit."""
    values = getattr(counts, goal.measure)
    wanted = values.max() if goal.value is None else min(goal.value, values.max())
    rows = np.flatnonzero(values >= wanted)
    return int(rows[-1] if goal.measure == "precision" else rows[0])


def _threshold(row: ScoreCounts, goal: Goal) -> dict[str, Any]:
    """A least score, and whether what was asked for is reached with it."""
    value = _outcome(row)[goal.measure]
    reached = value is not None and (value > 0 if goal.value is None else value >= goal.value)
    return {"threshold": float(row.scores[0]), "reached": reached}


def _outcome(row: ScoreCounts) -> dict[str, Any]:
    """What results at one least score."""
    kept, objects = int(row.kept[0]), row.objects
    return {
        "precision": float(row.precision[0]) if kept else None,
        "recall": float(row.recall[0]) if objects else None,
        "f1": float(row.f1[0]) if kept + objects else None,
        "detections": kept,
        "objects": objects,
    }


def describe_operating_point(point: dict[str, Any]) -> str:
    """The thresholds of `choose_operating_point` as a table for people, in per cent."""
    head = ("class", "threshold", "precision", "recall", "F1", "detections", "objects")
    rows = [head, *(_table_row(printable(entry["name"], keep=""), entry) for entry in point["classes"])]
    rows.append(_table_row("all, each with its own", {**point["together"], "threshold": None}))
    rows.append(_table_row("all, one for all", point["one_threshold"]))
    width = max(20, *(len(row[0]) for row in rows))
    lines = [f"  {row[0]:<{width}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows]
    head_line = f"Operating point {point['goal']} at IoU {point['iou']:g}, in % but the numbers:"
    return "\n".join([head_line, *lines, *_notes(point)])


def _table_row(name: str, of: dict[str, Any]) -> tuple[str, ...]:
    figures = [of[field] for field in ("threshold", "precision", "recall", "f1")]
    shown = ["-" if figure is None else f"{100 * figure:.2f}" for figure in figures]
    return (name, *shown, str(of["detections"]), str(of["objects"]))


def _notes(point: dict[str, Any]) -> list[str]:
    """Which classes have not what was asked for, and why, a line for each reason."""
    measure = point["goal"].split("=")[0]
    objects = "no object to choose a threshold with; that of all classes together"
    hits = "no detection finds an object; the threshold is that of all classes together"
    best = f"{point['goal']} cannot be reached; the best {measure} in %"
    named: dict[str, list[str]] = {best: [], hits: [], objects: []}
    for entry in point["classes"]:
        name = printable(entry["name"], keep="")
        if not entry["objects"]:
            named[objects].append(name)
        elif not entry["own"]:
            named[hits].append(name)
        elif not entry["reached"]:
            named[best].append(f"{name} {100 * entry[measure]:.2f}")
    return [f"{reason}: {', '.join(names)}" for reason, names in named.items() if names]
