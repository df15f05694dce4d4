"""The paper's learning curves, and the degradation of plain networks, drawn from our runs."""

import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pictures.plots import new_axes, save_plot
from reproduction.curves import Point, window_steps
from reproduction.published.paper import Figure
from reproduction.tables import Line, said

COLOURS = {"18": "C0", "20": "C0", "32": "C1", "34": "C1", "44": "C2", "56": "C3", "110": "C4", "1202": "C5"}
KINDS = {"plain": ("plain", "C3", "s"), "resnet": ("ResNet", "C0", "o")}  # label, colour, marker
SIZE = (4.6, 4.6)  # of a panel, inches


def depth(line: Line) -> int:
    """Layers, from the network's name."""
    numbers = re.search(r"\d+", line.row.network or "")
    assert numbers is not None
    return int(numbers[0])


def draw_curves(figure: Figure, lines: Sequence[Line], file: Path) -> str | None:
    """Training error dashed, test error bold, a panel for each kind of network; mean and range over seeds.

    Returns:
        The caption; None where no run has ended, and then no file is written.
    """
    by_key = {line.row.key: line for line in lines if line.ended}
    panels, seen = [], set[str]()
    for title, of_panel in figure.panels:
        kept = [key for key in of_panel if key in by_key]
        if set(kept) - seen:  # a panel that only repeats those before it is left out
            panels.append((title, kept))
        seen |= set(kept)
    if not panels:
        return None
    drawn = [by_key[key] for _, keys in panels for key in keys]
    longest = max(run.steps for line in drawn for run in line.ended)
    unit = figure.x_unit if longest >= figure.x_unit else 1
    scale = f" (1e{len(str(unit)) - 1})" if unit > 1 else ""
    picture, axes = new_axes(1, len(panels), size=SIZE, sharey=True)
    training, test = {"ls": "--", "lw": 1}, {"lw": 2}
    for axis, (title, keys) in zip(axes[0], panels, strict=True):
        for line in (by_key[key] for key in keys):
            style = {"color": COLOURS[str(depth(line))]}
            window = window_steps(line.ended[0].config)
            _draw_mean(axis, [run.curves.training(window) for run in line.ended], unit, **style, **training)
            style["label"] = f"{line.row.label} (n = {len(line.ended)})"
            _draw_mean(axis, [run.curves.test for run in line.ended], unit, **style, **test)
        axis.set(title=title, xlabel=f"iterations{scale}", xlim=(0, None))
        axis.plot([], [], color="grey", label="training error", **training)
        axis.plot([], [], color="grey", label="test error", **test)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)
    shortened = any(line.changed for line in drawn)  # ends above the paper's limits
    axes[0, 0].set(ylabel="error, %", ylim=(0, None) if shortened else figure.y_limits)
    save_plot(picture, file.with_suffix(""), ["png"])
    return _curves_caption(figure, drawn)


def _draw_mean(axis: Any, curves: Sequence[Sequence[Point]], unit: int, **style: Any) -> None:
    """The mean over seeds at each step that all have, with a band from the lowest to the highest."""
    tables = [dict(curve) for curve in curves]
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    if not steps:
        return
    values = [[table[step] for table in tables] for step in steps]
    x = [step / unit for step in steps]
    axis.plot(x, [statistics.mean(v) for v in values], **style)
    if len(curves) > 1:
        low, high = [min(v) for v in values], [max(v) for v in values]
        axis.fill_between(x, low, high, color=style["color"], alpha=0.15, lw=0)


def _curves_caption(figure: Figure, lines: Sequence[Line]) -> str:
    runs = [run for line in lines for run in line.ended]
    parts = [f"{figure.title}, as {figure.source}. Bold: error of the evaluations."]
    if any(run.curves.reports for run in runs):
        windows = sorted({round(window_steps(run.config)) for run in runs})
        parts.append(
            "Dashed: training error on augmented pictures, means over at least "
            f"{' or '.join(map(str, windows))} steps (an epoch, in a short run a fortieth of it)."
        )
    if len(runs) > len(lines):
        parts.append("Lines are means over the n seeds, bands reach from the lowest to the highest.")
    return " ".join([*parts, *_warning(lines)])


def _warning(lines: Sequence[Line]) -> list[str]:
    changes = dict.fromkeys(said(change) for line in lines for change in line.changed)
    return [f"Not the paper's recipe: {', '.join(changes)}."] if changes else []


def draw_degradation(lines: Sequence[Line], file: Path) -> str | None:
    """Final training and test error against depth, plain and residual networks.

    Returns:
        The caption; None where no run of either kind has ended, and then no file is written.
    """
    drawn = [line for line in lines if line.ended and (line.row.network or "").startswith(tuple(KINDS))]
    if not drawn:
        return None
    picture, ((axis,),) = new_axes(1, 1, size=SIZE)
    for kind, (name, colour, marker) in KINDS.items():
        of_kind = sorted((line for line in drawn if line.row.key.startswith(kind)), key=depth)
        training = {depth(line): line.training_errors() for line in of_kind}
        test = {depth(line): line.scores("top1_error") for line in of_kind}
        style = {"color": colour, "marker": marker, "capsize": 3}
        _draw_depths(axis, training, label=f"{name}, training", ls="--", **style)
        _draw_depths(axis, test, label=f"{name}, test", ls="-", lw=2, **style)
    depths = sorted({depth(line) for line in drawn})
    axis.set_xscale("log")
    axis.set_xticks(depths, [str(number) for number in depths])
    axis.minorticks_off()
    axis.set(xlabel="layers", ylabel="error at the end, %", ylim=(0, None))
    picture.legend(loc="outside upper center", ncols=2)
    save_plot(picture, file.with_suffix(""), ["png"])
    caption = (
        "Degradation (He et al. 2015, §1, §4): error at the end of training against depth. Training error is "
        "the mean over the last epoch, on augmented pictures; test error that of the last step. Means over "
        "the seeds with their sample deviation."
    )
    return " ".join([caption, *_warning(drawn)])


def _draw_depths(axis: Any, errors: dict[int, list[float]], **style: Any) -> None:
    """Mean and sample deviation of the errors at each depth, without depths that have none."""
    known = {number: values for number, values in errors.items() if values}
    if known:
        means = [statistics.mean(values) for values in known.values()]
        bars = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in known.values()]
        axis.errorbar(list(known), means, yerr=bars, **style)
