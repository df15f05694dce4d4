"""The figures of analyses that are matrices: similarities of layers, and the loss at a grid of points."""

from math import ceil, log
from typing import Any

import numpy as np

from analysis.figures.analysis_figures import Labelled, finished, numbers, styled
from pictures.plots import chart_label, new_axes

COLUMNS = 3  # of panels, at most
NAMED_LAYERS = 30  # along an axis, at most
TITLE = 44  # characters of a line that stay above their panel
LEVELS = 25  # of the loss
LEAST_LOSS = 1e-6  # that a logarithmic scale shows


def draw_similarity(labelled: Labelled) -> Any:
    """A matrix for each network and each two, from the first layers below and left to the last ones."""
    figure, axes = _panels(len(labelled))
    for axis, (label, arrays) in zip(axes, labelled.items(), strict=True):
        matrix, shades = arrays["similarity"].T, {"vmin": 0, "vmax": 1, "cmap": "magma"}
        picture = axis.imshow(matrix, origin="lower", aspect="auto", **shades)
        axis.set_box_aspect(1)
        axis.set_xticks(*_ticks(arrays["layers"]), rotation=90, fontsize="x-small")
        axis.set_yticks(*_ticks(arrays["other_layers"]), fontsize="x-small")
        axis.set_title(chart_label(label, TITLE), fontsize="medium")
        if not arrays["itself"]:
            axis.set(xlabel="layers of the first", ylabel="layers of the second")
    figure.colorbar(picture, ax=axes, label="linear CKA", shrink=0.8)
    figure.suptitle(f"How alike layers are, {numbers(labelled, 'pictures')} pictures")
    return figure


def _ticks(names: Any) -> tuple[range, list[str]]:
    """Places and names of layers, evenly chosen where there are many."""
    places = range(0, len(names), ceil(len(names) / NAMED_LAYERS))
    return places, names[places].tolist()


def draw_surface(labelled: Labelled) -> Any:
    """Contours of the loss with equal levels for all networks; of lines the loss and the error."""
    title = f"Loss around the weights, {numbers(labelled, 'pictures')} pictures"
    if all(len(arrays["y"]) == 1 for arrays in labelled.values()):
        return _draw_lines(labelled, title)
    from matplotlib.colors import LogNorm  # only here: it is slow to import

    figure, axes = _panels(len(labelled))
    losses = [np.maximum(arrays["loss"], LEAST_LOSS) for arrays in labelled.values()]
    low, high = min(loss.min() for loss in losses), max(loss.max() for loss in losses)
    levels = np.geomspace(low * 0.999, high * 1.001, LEVELS)  # all points are between, also of a flat surface
    for axis, loss, (label, arrays) in zip(axes, losses, labelled.items(), strict=True):
        x, y = arrays["x"], arrays["y"]
        scale = LogNorm(levels[0], levels[-1])
        filled = axis.contourf(x, y, loss, levels, norm=scale, cmap="viridis")
        axis.contour(x, y, loss, levels, colors="k", linewidths=0.3, alpha=0.5)
        chance = log(arrays["classes"])
        if loss.min() < chance < loss.max():
            axis.contour(x, y, loss, [chance], colors="white", linestyles="dashed")
        axis.plot(0, 0, "+", color="white")
        middle = loss[len(y) // 2, len(x) // 2]
        axis.set(
            title=f"{chart_label(label, TITLE)}\nloss {middle:.2f} at the weights, {loss.max():.3g} at most"
        )
        axis.set(xlabel="first direction", ylabel="second direction", aspect="equal")
        axis.locator_params(nbins=5)
    bar = figure.colorbar(filled, ax=axes, label="cross-entropy", shrink=0.8)
    ticks = [m * 10.0**e for e in range(-6, 13) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    figure.suptitle(f"{title}; dashed: as by chance")
    return figure


def _draw_lines(labelled: Labelled, title: str) -> Any:
    figure, axes = new_axes(1, 2)
    loss, error = axes[0]
    for arrays, style in styled(labelled):
        loss.semilogy(arrays["x"], np.maximum(arrays["loss"][0], LEAST_LOSS), **style)
        error.plot(arrays["x"], arrays["error"][0], **style)
    loss.set(title="loss", xlabel="lengths of the weights", ylabel="cross-entropy")
    error.set(title="error", xlabel="lengths of the weights", ylabel="top-1 error, %")
    return finished(figure, loss, title)


def _panels(count: int) -> tuple[Any, list[Any]]:
    """A figure of so many panels, in rows, and their axes; places that are left over are empty."""
    columns = min(COLUMNS, count)
    figure, axes = new_axes(ceil(count / columns), columns, size=(5.2, 4.6))
    for axis in axes.flat:
        axis.grid(False)
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])
