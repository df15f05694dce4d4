"""The confusion matrix of a detector as a table and as pictures: counts, and shares of the truth."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.charts.shown_classes import class_label
from foundation.atomic_files import write_text
from foundation.file_naming import printable
from pictures.plots import new_axes, save_plot

BACKGROUND = "background"


def write_confusion(found: dict[str, Any], file: Path) -> None:
    """The confusion matrix of `find_errors` as CSV with names."""
    names = [printable(name, keep="") for name in [*found["classes"], BACKGROUND]]
    rows = [[name, *row] for name, row in zip(names, found["confusion"], strict=True)]
    text = io.StringIO()
    csv.writer(text).writerows([["truth \\ prediction", *names], *rows])
    write_text(file, text.getvalue())


def normalised(confusion: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """(K + 1, K + 1) each row over its sum; NaN in the row of a class without objects.

    So the rows of classes say what became of their objects; that of the background, where nothing is, what
    the false alarms were named.
    """
    counts = np.array(confusion, dtype=np.float64)
    sums = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, sums, out=np.full_like(counts, np.nan), where=sums > 0)


def draw_confusion(found: dict[str, Any], stem: Path) -> None:
    """Draws the matrix of `find_errors` into stem.png, and normalised by truth into stem_normalised.png."""
    counts = np.array(found["confusion"])
    about = f"detections from a score of {found['least_score']:g}, IoU 0.5"
    texts = [[f"{count}" if count else "" for count in row] for row in counts.tolist()]
    title = f"Confusions\n{about}"
    _draw(np.log1p(counts), texts, found["classes"], title, stem)
    shares = normalised(found["confusion"])
    texts = [[f"{100 * share:.0f}" if share >= 0.005 else "" for share in row] for row in shares.tolist()]
    title = f"Confusions in % of each row\n{about}"
    _draw(shares, texts, found["classes"], title, stem.with_name(f"{stem.name}_normalised"))


def _draw(
    shades: NDArray[Any], texts: list[list[str]], classes: Sequence[str], title: str, stem: Path
) -> None:
    """A matrix with names on both sides; its numbers stand in the cells that are wide enough for them."""
    side = len(shades)
    cell = min(0.6, max(0.19, 8 / side))  # inches
    letters = min(9.0, 72 * cell * 0.55)  # points
    figure, axes = new_axes(1, 1, size=(max(4.5, cell * side + 2.6), cell * side + 2.9))
    axis = axes[0, 0]
    axis.grid(False)
    top = max(float(np.nanmax(shades)), 1e-9) if not np.isnan(shades).all() else 1.0
    axis.set_facecolor("0.93")  # of rows without an object
    axis.imshow(shades, cmap="Blues", vmin=0, vmax=top)
    names = [class_label(name) for name in [*classes, BACKGROUND]]
    axis.set_xticks(range(side), names, rotation=90, fontsize=letters)
    axis.set_yticks(range(side), names, fontsize=letters)
    axis.set_xticks(np.arange(side + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(side + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="0.9", lw=0.4)
    axis.tick_params(which="minor", length=0)
    axis.axhline(side - 1.5, color="0.4", lw=0.8)
    axis.axvline(side - 1.5, color="0.4", lw=0.8)
    axis.set(xlabel="prediction (last: not found)", ylabel="truth (last: nothing there)")
    figure.suptitle(title, fontsize="medium")
    for (row, column), shade in np.ndenumerate(shades):
        text = texts[row][column]
        # A digit is about 0.64 of its font's size wide.
        size = min(0.8 * letters, 72 * cell * 0.92 / (0.64 * max(1, len(text))))
        if text and size >= 4:
            colour = "white" if shade > 0.6 * top else "black"
            axis.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
    save_plot(figure, stem, ["png"])
