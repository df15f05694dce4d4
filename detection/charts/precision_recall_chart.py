"""Precision against recall: the mean of all classes, and the classes themselves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detection.charts.shown_classes import class_label, shown_classes
from detection.metrics.conventions import ClassMatches, Conventions, class_curve
from detection.metrics.matching import Floats
from detection.metrics.voc_ap import RECALLS, average_precision, sampled_precision
from pictures.plots import new_axes, save_plot

_AP = {"area": "area under the curve", "11point": "mean at 11 recalls", "101point": "mean at 101 recalls"}


def envelopes(matches: Sequence[ClassMatches], how: Conventions) -> Floats:
    """(C, 101) the best precision of each class at recalls of 0, 0.01 … 1 or any higher; 0 behind its last.

    Their mean over the classes is the curve of all; its own mean is the mean AP of COCO's conventions.
    """
    curves = [sampled_precision(class_curve(of_class, how), "101point") for of_class in matches]
    return np.array(curves).reshape(-1, len(RECALLS["101point"]))


def draw_precision_recall(
    matches: Sequence[ClassMatches], how: Conventions, classes: Sequence[str], stem: Path
) -> None:
    """Draws the envelopes into stem.png; the mean and up to ten classes are named with their AP."""
    figure, axes = new_axes(1, 1, size=(9, 6))
    axis, recalls = axes[0, 0], RECALLS["101point"]
    axis.set(xlabel="recall", ylabel="best precision at this recall or more", xlim=(0, 1), ylim=(0, 1.02))
    curves = envelopes(matches, how)
    ap = [average_precision(class_curve(of_class, how), how.recalls) for of_class in matches]
    shown = shown_classes(ap, [int(of_class.objects.sum()) for of_class in matches])
    for number, curve in enumerate(curves):
        if number not in shown:
            axis.plot(recalls, curve, color="0.75", lw=0.7)
    for colour, number in enumerate(shown):
        label = f"{class_label(classes[matches[number].label - 1])} {100 * ap[number]:.1f}"
        axis.plot(recalls, curves[number], color=f"C{colour}", lw=1.3, label=label)
    if len(matches) > len(shown):
        axis.plot([], [], color="0.75", lw=0.7, label=f"{len(matches) - len(shown)} other classes")
    if len(matches) > 1:
        label = f"mean of {len(matches)} classes {100 * np.mean(ap):.1f}"
        axis.plot(recalls, curves.mean(axis=0), color="black", lw=3, label=label)
    title = f"Precision and recall at IoU {how.thresholds[0]:g}"
    if matches:
        handles, labels = axis.get_legend_handles_labels()
        order = [len(handles) - 1, *range(len(handles) - 1)] if len(matches) > 1 else [0]
        figure.legend(
            [handles[i] for i in order],
            [labels[i] for i in order],
            loc="outside right upper",
            title=f"AP in %: {_AP[how.recalls]}",
            fontsize="small",
        )
    else:
        title += ": no class has an object"
    axis.set_title(title)
    save_plot(figure, stem, ["png"])
