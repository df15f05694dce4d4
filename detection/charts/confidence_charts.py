"""Precision, recall and F1 against the least score that is kept: of each class, and of all together.

"Mean" is over the classes: each counts as much as any other; a class is left out of the mean precision where
it keeps no detection. "Pooled" adds up hits, detections and objects of all classes, so that common classes
count for more. The mean F1 is the mean of the classes' F1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detection.charts.score_counts import ScoreCounts, counts_of_class, counts_together
from detection.charts.shown_classes import class_label, shown_classes
from detection.metrics.conventions import ClassMatches
from detection.metrics.matching import Floats
from pictures.plots import new_axes, save_plot

_POINTS = 201  # least scores at which curves are drawn, a two-hundredth apart
MEASURES = ("precision", "recall", "f1")


def confidence_table(matches: Sequence[ClassMatches], classes: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 at least scores from 0 to 1, from the matching of the figure at IoU 0.5.

    Scores that lie outside of 0 to 1 widen the range.

    Args:
        matches: of the classes that have an object which counts.
        classes: K names.
    Returns:
        "thresholds" (201,); "classes": of each its "name", "objects", "precision" (201,) with None where no
        detection is kept, "recall", "f1", and "best": {"threshold", "f1"} where F1 is greatest, of all scores
        and not only those 201, the highest of equal ones, None without a detection; "pooled" and "mean", as
        the module says, with the same fields but for the name; "mean" without objects.
    """
    counts, pooled = [counts_of_class(of_class) for of_class in matches], counts_together(matches)
    low, high = pooled.scores.min(initial=0), pooled.scores.max(initial=1)
    grid = np.linspace(low, high, _POINTS)
    return {
        "thresholds": grid.tolist(),
        "classes": [
            {"name": classes[of_class.label - 1], **_curves(count, grid)}
            for of_class, count in zip(matches, counts, strict=True)
        ],
        "pooled": _curves(pooled, grid) if matches else None,
        "mean": _mean_curves(counts, grid) if matches else None,
    }


def _curves(counts: ScoreCounts, grid: Floats) -> dict[str, Any]:
    at, f1 = counts.at(grid), counts.f1
    kept = at.kept > 0
    precision = np.divide(at.hits, at.kept, out=np.full(len(grid), np.nan), where=kept)
    best = int(f1.argmax()) if len(f1) else None
    return {
        "objects": counts.objects,
        "precision": _with_none(precision),
        "recall": at.recall.tolist(),
        "f1": at.f1.tolist(),
        "best": None if best is None else {"threshold": float(counts.scores[best]), "f1": float(f1[best])},
    }


def _mean_curves(counts: Sequence[ScoreCounts], grid: Floats) -> dict[str, Any]:
    at = [of_class.at(grid) for of_class in counts]
    kept = np.array([of_class.kept for of_class in at])
    shares = np.array([of_class.hits for of_class in at]) / np.maximum(kept, 1)
    some = (kept > 0).sum(axis=0)
    precision = np.divide(shares.sum(axis=0), some, out=np.full(len(grid), np.nan), where=some > 0)
    return {
        "precision": _with_none(precision),
        "recall": np.mean([of_class.recall for of_class in at], axis=0).tolist(),
        "f1": np.mean([of_class.f1 for of_class in at], axis=0).tolist(),
        "best": _best_mean_f1(counts),
    }


def _best_mean_f1(counts: Sequence[ScoreCounts]) -> dict[str, float] | None:
    """Of all scores the one with the greatest mean F1, which changes at a score of any class."""
    scores = np.concatenate([of_class.scores for of_class in counts])
    if not len(scores):
        return None
    changes = np.concatenate([np.diff(of_class.f1, prepend=0) for of_class in counts])
    order = np.argsort(-scores, kind="stable")
    scores, sums = scores[order], np.cumsum(changes[order])
    sums[:-1][scores[1:] == scores[:-1]] = -np.inf  # only with all classes that have this score
    best = int(sums.argmax())
    mean = np.mean([of_class.at(scores[best : best + 1]).f1[0] for of_class in counts])
    return {"threshold": float(scores[best]), "f1": float(mean)}


def _with_none(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def draw_confidence(table: dict[str, Any], stem: Path) -> None:
    """Draws `confidence_table` into stem.png, a panel for each measure; up to ten classes are named."""
    figure, axes = new_axes(1, 3, size=(5.2, 4.6), sharey=True)
    classes, grid = table["classes"], table["thresholds"]
    best = [entry["best"]["f1"] if entry["best"] else 0.0 for entry in classes]
    shown = shown_classes(best, [entry["objects"] for entry in classes])
    colours = {number: f"C{colour}" for colour, number in enumerate(shown)}
    for axis, measure in zip(axes[0], MEASURES, strict=True):
        title = measure.capitalize()
        axis.set(title=title, xlabel="least score kept", xlim=(grid[0], grid[-1]), ylim=(0, 1.02))
        for number, entry in enumerate(classes):
            if number not in colours:
                axis.plot(grid, _with_gaps(entry[measure]), color="0.8", lw=0.6)
        for number, colour in reversed(colours.items()):
            label = class_label(classes[number]["name"])
            axis.plot(grid, _with_gaps(classes[number][measure]), color=colour, lw=1, label=label)
        if len(classes) > len(shown):
            axis.plot([], [], color="0.8", lw=0.6, label=f"{len(classes) - len(shown)} other classes")
        for kind, style in (("pooled", "--"), ("mean", "-")) if len(classes) > 1 else ():
            axis.plot(grid, _with_gaps(table[kind][measure]), style, color="black", lw=2.5, label=kind)
    marked = ("pooled", "mean") if len(classes) > 1 else ("pooled",) if classes else ()
    for kind in marked:
        _mark_best(axes[0, 2], table[kind]["best"], kind)
    if classes:
        handles, labels = axes[0, 2].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside right upper", fontsize="small")
    text = "pooled: hits, detections and objects of all classes added up; mean: each class counts the same"
    if len(classes) < 2:
        text = "no detections" if classes and classes[0]["best"] is None else ""
    figure.suptitle(text if classes else "no class has an object", fontsize="medium")
    save_plot(figure, stem, ["png"])


def _mark_best(axis: Any, best: dict[str, float] | None, kind: str) -> None:
    if best is not None:
        label = f"best {kind} F1 {100 * best['f1']:.1f} % from {best['threshold']:.3g}"
        marker = {"pooled": "o", "mean": "D"}[kind]
        axis.plot([best["threshold"]], [best["f1"]], marker, color="black", mfc="gold", ms=8, label=label)


def _with_gaps(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values])
