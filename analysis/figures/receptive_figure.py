"""The figure of receptive fields: the pixels that count for each map of each network."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays import Arrays
from pictures.plots import chart_label, new_axes

TITLE = 32  # characters of a line that stay above their panel
MARGIN = 1.1  # what is shown, as a multiple of the field
SHADES = 100  # squares a side that a panel shows at least, where there are so many pixels
Boxes = Mapping[str, NDArray[np.float64]]  # by feature: (A, 4) xyxy in pixels around the cell's place


def draw_receptive_fields(labelled: Mapping[str, Arrays], boxes: Mapping[str, Boxes] | None = None) -> Any:
    """A panel for each map of each network: the pixels' shares, and both fields as squares.

    Args:
        labelled: what `measure_fields` gives, by the name of the network.
        boxes: of networks by name, such as the anchors at the cell.
    """
    columns = max(len(arrays["features"]) for arrays in labelled.values())
    panels = [(label, place) for label in labelled for place in range(len(labelled[label]["features"]))]
    figure, axes = new_axes(-(-len(panels) // columns), columns, size=(2.3, 2.75))
    for axis, (label, place) in zip(axes.flat[: len(panels)], panels, strict=True):
        arrays = labelled[label]
        name = str(arrays["features"][place])
        _draw_field(axis, arrays, place, (boxes or {}).get(label, {}).get(name, np.zeros((0, 4))))
        theoretical = float(arrays["theoretical"][place])
        of = "all" if math.isinf(theoretical) else f"{theoretical:g}"
        title = f"{chart_label(name)}: {arrays['effective'][place]:.0f} of {of}"
        axis.set_title(f"{chart_label(label, TITLE)}\n{title}", fontsize="small")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    what = "dashed: theoretical field, line: effective field"
    figure.suptitle(f"Shares of pixels, square root; {what}{', orange: anchors' if boxes else ''}")
    return figure


def _draw_field(axis: Any, arrays: Arrays, place: int, boxes: NDArray[np.float64]) -> None:
    from matplotlib.patches import Rectangle  # only here: it is slow to import

    theoretical, effective = float(arrays["theoretical"][place]), float(arrays["effective"][place])
    offset = 0.0 if math.isinf(theoretical) else float(arrays["offset"][place])
    row, column = arrays["place"][place].tolist()
    y, x = row + offset, column + offset  # the middle of the field
    # Of the picture little more than the field and the boxes is shown.
    shown = MARGIN * max(theoretical / 2, np.abs(boxes).max(initial=0))
    shares = arrays[f"gradient/{arrays['features'][place]}"]
    height, width = shares.shape
    block = max(1, int(2 * min(shown, height, width) / SHADES))
    means = block_means(shares, block)
    extent = (-0.5, means.shape[1] * block - 0.5, means.shape[0] * block - 0.5, -0.5)
    axis.grid(False)
    axis.imshow(np.sqrt(means / means.max()), cmap="viridis", interpolation="nearest", extent=extent)
    # What counts lies around its own mean: a pyramid's cell looks at its place more than at its whole field.
    mean = float(shares.sum(axis=1) @ np.arange(height)), float(shares.sum(axis=0) @ np.arange(width))
    for size, (down, across), line in ((theoretical, (y, x), "--"), (effective, mean, "-")):
        if math.isfinite(size):
            corner = across - size / 2, down - size / 2
            axis.add_patch(Rectangle(corner, size, size, fill=False, ec="white", ls=line, lw=1.2))
    for x1, y1, x2, y2 in boxes:
        corner = column + x1, row + y1
        axis.add_patch(Rectangle(corner, x2 - x1, y2 - y1, fill=False, ec="tab:orange", lw=0.9))
    axis.set(xticks=[], yticks=[])
    axis.set_xlim(max(-0.5, x - shown), min(width - 0.5, x + shown))
    axis.set_ylim(min(height - 0.5, y + shown), max(-0.5, y - shown))


def block_means(values: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Means of squares of `block` pixels a side of (H, W); what is left over at the end is cut off."""
    rows, columns = (side // block for side in values.shape)
    cut = values[: rows * block, : columns * block]
    return cut.reshape(rows, block, columns, block).mean(axis=(1, 3))
