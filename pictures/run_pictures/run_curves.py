"""The curves of one training, drawn from its metrics.jsonl."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foundation.file_reading import readable
from pictures.plots import chart_label, new_axes, save_plot

MOST_SCORES = 8
Curve = list[tuple[float, float]]  # steps and values


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The entries of a run's metrics.jsonl; none where the file is absent."""
    if not file.is_file():
        return []
    with readable(file, "its curve cannot be drawn: remove the damaged lines, or train anew"):
        return [json.loads(line) for line in file.read_bytes().splitlines()]


def curves_of(entries: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """The curve of each figure that the entries name, without what is null or not finite."""
    curves: dict[str, Curve] = {}
    for entry in entries:
        for name, value in entry.items():
            if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                curves.setdefault(name, []).append((entry["step"], value))
    return curves


def draw_curves(metrics: Path, stem: Path) -> None:
    """Writes stem.png: losses and their sum, learning rate, and scores of training and validation."""
    entries = read_metrics(metrics)
    curves = curves_of(entries)
    losses = {name: curve for name, curve in curves.items() if name.startswith("loss")}
    scores = main_scores({n: curve for n, curve in curves.items() if n not in losses and n != "lr"})
    panels = {"losses": losses, "learning rate": {"lr": curves.get("lr", [])}, "scores": scores}
    if len(losses) > 1:
        losses["sum"] = loss_sums(entries)
    figure, axes = new_axes(1, len(panels), size=(4.8, 3.8))
    for axis, (title, of_panel) in zip(axes[0], panels.items(), strict=True):
        for number, (name, curve) in enumerate(of_panel.items()):
            few = len(curve) < 40
            style = {"color": "black" if name == "sum" else f"C{number % 10}", "lw": 1.2}
            style |= {"marker": "." if few else "", "ls": ("-", "--", ":")[number // 10 % 3]}
            axis.plot(*zip(*curve, strict=True) if curve else ([], []), label=chart_label(name), **style)
        axis.set(title=f"{title}, by step", xlim=(0, None))
        if len(of_panel) > 1:
            columns = 2 if len(of_panel) > 4 else 1
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize="small", ncols=columns)
    axes[0, 0].set_ylim(0, None)
    axes[0, 1].set_ylim(0, None)
    save_plot(figure, stem, ["png"])


def main_scores(scores: dict[str, Curve]) -> dict[str, Curve]:
    """Of more than can be told apart, as COCO's twelve, AP, AP50 and AP75, else the first ones."""
    if len(scores) <= MOST_SCORES:
        return scores
    main = [name for name in scores if name.rpartition("/")[2] in ("AP", "AP50", "AP75")]
    return {name: scores[name] for name in main or [*scores][:MOST_SCORES]}


def loss_sums(entries: Sequence[Mapping[str, Any]]) -> Curve:
    """The sum of the terms that begin with "loss", at each step that has them all finite."""
    sums: Curve = []
    for entry in entries:
        terms = [value for name, value in entry.items() if name.startswith("loss")]
        if terms and all(isinstance(term, int | float) and math.isfinite(term) for term in terms):
            sums.append((entry["step"], sum(terms)))
    return sums
