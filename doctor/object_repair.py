"""Boxes and masks of COCO objects made fit: what is wrong in one is taken from the other."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from detection.data.coco_masks import draw_mask, segmentation_problems


def inside(box: Any, size: tuple[int, int]) -> list[float] | None:
    """A box [x, y, width, height] as it is inside its picture; None where nothing is left, or it is no box.

    Sizes below 0 count from the right or the bottom, as when an object was marked from there; text that says
    a number is one.

    Args:
        box: as a file gives it.
        size: (height, width) of the picture.
    """
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    try:
        x, y, width, height = (n if type(n) in (int, float) else float(n) for n in box)
        if not all(map(math.isfinite, (x, y, width, height))):
            return None
    except (TypeError, ValueError, OverflowError):
        return None
    (left, right), (top, bottom) = sorted((x, x + width)), sorted((y, y + height))
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, size[1]), min(bottom, size[0])
    if x2 <= x1 or y2 <= y1:
        return None
    whole = (x1, y1, x2, y2) == (x, y, x + width, y + height)
    return [x, y, width, height] if whole else [x1, y1, x2 - x1, y2 - y1]


def box_of_mask(segmentation: Any, size: tuple[int, int]) -> list[float] | None:
    """The box [x, y, width, height] around a sound mask, inside a picture (height, width); None without."""
    if not segmentation or segmentation_problems([segmentation], [size]):
        return None
    if isinstance(segmentation, list):
        corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation]).astype(float)
        low, high = corners.min(axis=0), corners.max(axis=0)
    else:
        rows, columns = np.nonzero(draw_mask(segmentation, size))
        if not len(rows):
            return None
        low, high = np.array([columns.min(), rows.min()]), np.array([columns.max() + 1, rows.max() + 1])
    return inside([*low.tolist(), *(high - low).tolist()], size)


def repair_masks(
    entries: Sequence[dict[str, Any]], sizes: Mapping[Hashable, tuple[int, int]], changes: list[str]
) -> None:
    """Gives every object a sound mask if any has one: the sound polygons of its own, or else its box.

    A training with masks needs one of each object. Where all that is sound is a box, the mask is that box.

    Args:
        entries: objects with sound boxes.
        sizes: (height, width) of the pictures by id.
        changes: a line is added for each change.
    """
    if not any(entry.get("segmentation") for entry in entries):
        return
    values = [entry.get("segmentation") for entry in entries]
    places = [sizes[entry["image_id"]] for entry in entries]
    for index, text in segmentation_problems(values, places).items():
        entry, value = entries[index], values[index]
        name, polygons = f"annotation {entry['id']}", value if isinstance(value, list) else []
        sound = [polygon for polygon in polygons if not segmentation_problems([[polygon]], [places[index]])]
        if sound:
            left_out = f"{len(polygons) - len(sound)} of its {len(polygons)} polygons left out"
            changes.append(f"{name}: {left_out}, which cannot be drawn")
        else:
            x, y, width, height = entry["bbox"]
            sound = [[x, y, x + width, y, x + width, y + height, x, y + height]]
            changes.append(f"{name}: its box stands for its mask, since its {text.split(';')[0]}")
        entry["segmentation"] = sound
