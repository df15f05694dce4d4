"""The paper's learning curves, and the degradation of plain networks, drawn from our runs."""

import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reproduction.curves import Point, window_steps
from reproduction.paper import Figure
from reproduction.tables import Line, said

COLOURS = {"18": "C0", "20": "C0", "32": "C1", "34": "C1", "44": "C2", "56": "C3", "110": "C4", "1202": "C5"}
KINDS = {"plain": ("C3", "s"), "resnet": ("C0", "o")}


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
    panels = _panels(figure, list(by_key))
    if not panels:
        return None
    drawn = [by_key[key] for _, keys in panels for key in keys]
    longest = max(run.steps for line in drawn for run in line.ended)
    unit = figure.x_unit if longest >= figure.x_unit else 1
    scale = f" (1e{len(str(unit)) - 1})" if unit > 1 else ""
    picture, axes = _axes(len(panels))
    for axis, (title, keys) in zip(axes, panels, strict=True):
        for key in keys:
            _draw_line(axis, by_key[key], unit)
        axis.set(title=title, xlabel=f"iterations{scale}", xlim=(0, None))
        _legend(axis)
    axes[0].set_ylabel("error, %")
    if not any(line.changed for line in drawn):
        axes[0].set_ylim(*figure.y_limits)  # the paper's; a shortened run ends above them
    else:
        axes[0].set_ylim(0, None)
    _save(picture, file)
    return _curves_caption(figure, drawn)


def _panels(figure: Figure, drawn: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The panels with the networks that have runs; one that repeats those before it alone is left out."""
    panels, seen = [], set[str]()
    for title, keys in figure.panels:
        kept = [key for key in keys if key in drawn]
        if set(kept) - seen:
            panels.append((title, kept))
        seen |= set(kept)
    return panels


def _axes(panels: int) -> tuple[Any, Sequence[Any]]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    picture, axes = pyplot.subplots(
        1, panels, figsize=(4.6 * panels, 4.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis in axes[0]:
        axis.grid(alpha=0.3)
    return picture, axes[0]


def _draw_line(axis: Any, line: Line, unit: int) -> None:
    colour = COLOURS[str(depth(line))]
    window = window_steps(line.ended[0].config)
    _draw_mean(axis, [run.curves.training(window) for run in line.ended], unit, color=colour, ls="--", lw=1)
    label = f"{line.row.label} (n = {len(line.ended)})"
    _draw_mean(axis, [run.curves.test for run in line.ended], unit, color=colour, lw=2, label=label)


def _legend(axis: Any) -> None:
    """Networks, and what dashed and bold lines are; below the panel, where no curve is."""
    for label, style in (("training error", {"ls": "--", "lw": 1}), ("test error", {"lw": 2})):
        axis.plot([], [], color="grey", label=label, **style)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)


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
    found = {kind: _of_kind(lines, kind) for kind in KINDS}
    drawn = [line for kind in found.values() for line in kind]
    if not drawn:
        return None
    picture, (axis,) = _axes(1)
    for kind, (colour, marker) in KINDS.items():
        name = {"plain": "plain", "resnet": "ResNet"}[kind]
        style = {"color": colour, "marker": marker, "capsize": 3}
        _draw_depths(axis, found[kind], Line.training_errors, label=f"{name}, training", ls="--", **style)
        _draw_depths(axis, found[kind], _test_errors, label=f"{name}, test", ls="-", lw=2, **style)
    depths = sorted({depth(line) for line in drawn})
    axis.set_xscale("log")
    axis.set_xticks(depths, [str(number) for number in depths])
    axis.minorticks_off()
    axis.set(xlabel="layers", ylabel="error at the end, %", ylim=(0, None))
    picture.legend(loc="outside upper center", ncols=2)
    _save(picture, file)
    caption = (
        "Degradation (He et al. 2015, §1, §4): error at the end of training against depth. Training error is "
        "the mean over the last epoch, on augmented pictures; test error that of the last step. Means over "
        "the seeds with their sample deviation."
    )
    return " ".join([caption, *_warning(drawn)])


def _of_kind(lines: Sequence[Line], kind: str) -> list[Line]:
    chosen = [line for line in lines if line.ended and (line.row.network or "").startswith(kind)]
    return sorted(chosen, key=depth)


def _test_errors(line: Line) -> list[float]:
    return line.scores("top1_error")


def _draw_depths(
    axis: Any, lines: Sequence[Line], errors: Callable[[Line], list[float]], **style: Any
) -> None:
    points = [(depth(line), errors(line)) for line in lines if errors(line)]
    if points:
        means = [statistics.mean(values) for _, values in points]
        bars = [statistics.stdev(values) if len(values) > 1 else 0.0 for _, values in points]
        axis.errorbar([number for number, _ in points], means, yerr=bars, **style)


def _save(picture: Any, file: Path) -> None:
    from matplotlib import pyplot

    file.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(file, dpi=130)
    pyplot.close(picture)
