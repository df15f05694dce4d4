"""The figure of receptive fields: the pixels that count for each map of each network."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays import Arrays
from pictures.plots import chart_label, new_axes

MARGIN = 1.1  # what is shown, as a multiple of the field
Boxes = Mapping[str, NDArray[np.float64]]  # by feature: (A, 4) xyxy in pixels around the cell's place


def draw_receptive_fields(labelled: Mapping[str, Arrays], boxes: Mapping[str, Boxes] | None = None) -> Any:
    """A row for each network, a panel for each map: the pixels' shares, and both fields as squares.

    Args:
        labelled: what `measure_fields` gives, by the name of the network.
        boxes: of networks by name, such as the anchors at the cell.
    """
    columns = max(len(arrays["features"]) for arrays in labelled.values())
    figure, axes = new_axes(len(labelled), columns, size=(2.3, 2.55))
    for row, (label, arrays) in zip(axes, labelled.items(), strict=True):
        of_network = (boxes or {}).get(label, {})
        for place, axis in enumerate(row):
            if place < len(arrays["features"]):
                name = str(arrays["features"][place])
                _draw_field(axis, arrays, place, of_network.get(name, np.zeros((0, 4))))
            else:
                axis.set_axis_off()
        row[0].set_ylabel(chart_label(label), fontsize="small")
    what = "dashed: theoretical field, line: effective field"
    figure.suptitle(f"Shares of pixels, square root; {what}{', orange: anchors' if boxes else ''}")
    return figure


def _draw_field(axis: Any, arrays: Arrays, place: int, boxes: NDArray[np.float64]) -> None:
    from matplotlib.patches import Rectangle  # only here: it is slow to import

    name = str(arrays["features"][place])
    shares = arrays[f"gradient/{name}"]
    axis.grid(False)
    axis.imshow(np.sqrt(shares / shares.max()), cmap="viridis", interpolation="nearest")
    theoretical, effective = float(arrays["theoretical"][place]), float(arrays["effective"][place])
    row, column = arrays["place"][place].tolist()
    offset = 0.0 if math.isinf(theoretical) else float(arrays["offset"][place])
    for size, line in ((theoretical, "--"), (effective, "-")):
        if math.isfinite(size):
            corner = column + offset - size / 2, row + offset - size / 2
            axis.add_patch(Rectangle(corner, size, size, fill=False, ec="white", ls=line, lw=1.2))
    for x1, y1, x2, y2 in boxes:
        corner = column + x1, row + y1
        axis.add_patch(Rectangle(corner, x2 - x1, y2 - y1, fill=False, ec="tab:orange", lw=0.9))
    of = "all" if math.isinf(theoretical) else f"{theoretical:g}"
    axis.set_title(f"{chart_label(name)}: {effective:.0f} of {of}", fontsize="small")
    axis.set(xticks=[], yticks=[])
    # Of the picture little more than the field and the boxes is shown.
    shown = MARGIN * max(theoretical / 2, np.abs(boxes).max(initial=0))
    height, width = shares.shape
    x, y = column + offset, row + offset
    axis.set_xlim(max(-0.5, x - shown), min(width - 0.5, x + shown))
    axis.set_ylim(min(height - 0.5, y + shown), max(-0.5, y - shown))
