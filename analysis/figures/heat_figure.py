"""The figure of heat maps: each picture beside what speaks for a class, for each network."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays import Arrays
from pictures.plots import chart_label, new_axes
from pictures.run_pictures.heat_overlay import lay_heat

BRIGHTEST = 99.5  # percentile of a gradient's absolute values that is drawn as black or white


def draw_heat_maps(labelled: Mapping[str, Arrays]) -> Any:
    """A row for each picture: as it is, and for each network Grad-CAM over it, and both guided gradients.

    Args:
        labelled: what `measure_heat_maps` gives, with "classes" (K,), by the name of the network.
    """
    first = next(iter(labelled.values()))
    figure, axes = new_axes(len(first["images"]), 1 + 3 * len(labelled), size=(1.6, 1.8))
    for axis in axes.flat:
        axis.grid(False)
        axis.set(xticks=[], yticks=[])
    for number, row in enumerate(axes):
        label = int(first["labels"][number])
        row[0].imshow(first["images"][number], interpolation="nearest")
        row[0].set_title("" if label < 0 else _name(first, label), fontsize="small")
        for place, arrays in enumerate(labelled.values()):
            _draw_answer(row[1 + 3 * place :], arrays, number)
    for place, name in enumerate(labelled):
        axes[-1, 2 + 3 * place].set_xlabel(chart_label(name), fontsize="small")
    figure.suptitle("Grad-CAM, guided backpropagation, and their product")
    return figure


def _draw_answer(row: Any, arrays: Arrays, number: int) -> None:
    cam, guided, product = row[:3]
    cam.imshow(lay_heat(arrays["images"][number], arrays["grad_cam"][number]), interpolation="nearest")
    asked = f"{_name(arrays, int(arrays['targets'][number]))} {arrays['scores'][number]:.2f}"
    cam.set_title(asked, fontsize="small")
    guided.imshow(_as_grey(arrays["guided"][number]), interpolation="nearest")
    product.imshow(_as_grey(arrays["guided_grad_cam"][number]), interpolation="nearest")


def _name(arrays: Arrays, number: int) -> str:
    return chart_label(str(arrays["classes"][number]))


def _as_grey(gradient: NDArray[np.floating]) -> NDArray[np.floating]:
    """(H, W, 3) gradients as colours in 0–1 around grey, which is 0."""
    largest = np.percentile(np.abs(gradient), BRIGHTEST)
    return np.clip(0.5 + gradient / (2 * largest if largest > 0 else 1), 0, 1)
