"""The figures of analyses that are maps: similarities of layers."""

import textwrap
from math import ceil
from typing import Any

from analysis.figures.analysis_figures import Labelled, numbers
from pictures.plots import chart_label, new_axes

COLUMNS = 3  # of panels, at most
NAMED_LAYERS = 30  # along an axis, at most


def draw_similarity(labelled: Labelled) -> Any:
    """A matrix for each network and each two, from the first layers below and left to the last ones."""
    figure, axes = _panels(len(labelled))
    for axis, (label, arrays) in zip(axes, labelled.items(), strict=False):
        matrix, shades = arrays["similarity"].T, {"vmin": 0, "vmax": 1, "cmap": "magma"}
        picture = axis.imshow(matrix, origin="lower", aspect="auto", **shades)
        axis.set_box_aspect(1)
        names, others = arrays["layers"].tolist(), arrays["other_layers"].tolist()
        axis.set_xticks(_ticks(names), names[:: _step(names)], rotation=90, fontsize="x-small")
        axis.set_yticks(_ticks(others), others[:: _step(others)], fontsize="x-small")
        axis.set_title(_title(label), fontsize="medium")
        if not arrays["itself"]:
            axis.set(xlabel="layers of the first", ylabel="layers of the second")
    figure.colorbar(picture, ax=axes, label="linear CKA", shrink=0.8)
    figure.suptitle(f"How alike layers are, {numbers(labelled, 'pictures')} pictures")
    return figure


def _step(names: list[str]) -> int:
    return ceil(len(names) / NAMED_LAYERS)


def _ticks(names: list[str]) -> range:
    return range(0, len(names), _step(names))


def _panels(count: int) -> tuple[Any, list[Any]]:
    """A figure of so many panels, in rows, and their axes; places that are left over are empty."""
    columns = min(COLUMNS, count)
    figure, axes = new_axes(ceil(count / columns), columns, size=(5.2, 4.6))
    for axis in axes.flat:
        axis.grid(False)
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])


def _title(label: str) -> str:
    return chart_label(textwrap.fill(label, 60))
