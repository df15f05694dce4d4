"""Charts of labels: how many of each class, and of boxes their sizes, shapes and places."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictures.plots import chart_label, new_axes, save_plot

MOST_NAMED = 40  # classes; of more the commonest and the rarest halves are named
BAR = 0.17  # inches of height that a class takes


def draw_class_counts(
    counts: Mapping[str, NDArray[np.int64]], classes: Sequence[str], stem: Path, *, what: str
) -> None:
    """Writes stem.png: how many pictures or objects, as `what` says, of each class each split has.

    Args:
        counts: (K,) of each split, by its name.
    """
    rows = min(len(classes), MOST_NAMED)
    figure, axes = new_axes(1, 1, size=(6.5, max(2.5, 1 + BAR * rows)))
    _draw_counts(axes[0, 0], counts, classes, what)
    save_plot(figure, stem, ["png"])


def draw_box_statistics(
    counts: Mapping[str, NDArray[np.int64]],
    classes: Sequence[str],
    boxes: NDArray[np.float64],
    sizes: NDArray[np.float64],
    stem: Path,
    *,
    of: str,
) -> None:
    """Writes stem.png: objects of each class; of the boxes their sides, shapes, centres and number a picture.

    Args:
        counts: (K,) objects of each split, by its name.
        boxes: (T, 4) xyxy in pixels.
        sizes: (T, 2) height and width of each box's picture.
        of: what the boxes are of, for the title.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows = min(len(classes), MOST_NAMED)
    figure, axes = new_axes(1, 4, size=(4.3, max(3.6, 1 + BAR * rows)))
    number, sides, shapes, centres = axes[0]
    _draw_counts(number, counts, classes, "objects")
    width, height = (boxes[:, 2:] - boxes[:, :2]).T.clip(min=0)
    with_area = (width > 0) & (height > 0)
    width, height = width[with_area], height[with_area]
    place = (boxes[:, :2] + boxes[:, 2:]) / 2 / sizes[:, ::-1] if len(boxes) else np.zeros((0, 2))
    if len(width):
        side = np.sqrt(width * height)
        sides.hist(side, bins=_log_bins(side), color="C0")
        for border, text in ((32, "32"), (96, "96")):  # COCO's small, medium and large
            sides.axvline(border, color="black", ls=":", lw=1, label=f"{text} px")
        ratio = width / height
        shapes.hist(ratio, bins=_log_bins(ratio), color="C0")
    for axis in (sides, shapes):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    sides.set(title="sides of the boxes", xlabel="square root of the area, pixels", ylabel="objects")
    shapes.set(title="shapes of the boxes", xlabel="width over height", ylabel="objects")
    counted, _, _ = np.histogram2d(place[:, 1], place[:, 0], bins=40, range=((0, 1), (0, 1)))
    centres.grid(False)
    shown = centres.imshow(counted, extent=(0, 1, 1, 0), cmap="viridis")
    centres.set(title="centres of the boxes", xlabel="share of the width", ylabel="share of the height")
    figure.colorbar(shown, ax=centres, shrink=0.7)
    figure.suptitle(chart_label(of))
    save_plot(figure, stem, ["png"])


def _log_bins(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Borders of 40 bins of equal ratio that hold all the values, which are above 0."""
    low, high = float(values.min()), float(values.max())
    return np.geomspace(low / 1.05, high * 1.05, 41)


def _draw_counts(
    axis: Any, counts: Mapping[str, NDArray[np.int64]], classes: Sequence[str], what: str
) -> None:
    """Bars of the classes, those with most in the first split on top; of many only both ends."""
    first = next(iter(counts.values()))
    order = np.argsort(-first, kind="stable")
    title = f"{what} of {len(classes)} classes"
    if len(classes) > MOST_NAMED:
        half = MOST_NAMED // 2
        order = np.concatenate([order[:half], order[-half:]])
        title += f", the {half} commonest and the {half} rarest"
    places, height = np.arange(len(order)), 0.8 / len(counts)
    for number, (split, of_split) in enumerate(counts.items()):
        label = f"{chart_label(split)}, {int(of_split.sum()):,}"
        axis.barh(places + number * height - 0.4 + height / 2, of_split[order], height, label=label)
    axis.set_yticks(places, [chart_label(classes[index]) for index in order], fontsize="small")
    axis.set_ylim(len(order) - 0.5, -0.5)
    if first.max(initial=0) > 100 * max(1, int(first.min(initial=0))):
        axis.set_xscale("symlog")
    axis.set(title=title, xlabel=what)
    axis.title.set_fontsize("medium")
    axis.legend(fontsize="small", loc="lower right")
