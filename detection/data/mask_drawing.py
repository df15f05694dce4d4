"""Masks of COCO segmentations, drawn at the size and in the part of the picture that is asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from detection.types import Window


def draw_mask(
    segmentation: Any,
    source: tuple[int, int],
    resized: tuple[int, int] | None = None,
    window: Window | None = None,
) -> NDArray[np.bool_]:
    """The mask (height, width) of one object.

    Polygons are scaled and drawn anew, by COCO's own rule: at any size but the file's this is nearer to the
    outline than resizing the file's mask. Run-lengths are resized: each pixel takes the file's under its
    centre.

    Args:
        segmentation: polygons or a run-length, sound as of `check_segmentations`.
        source: (height, width) of the file.
        resized: (height, width) of the whole picture after resizing; None keeps the file's.
        window: (top, left, height, width) of the part wanted, in resized pixels; None wants everything.
    """
    resized = resized or source
    if isinstance(segmentation, list):
        polygons = [_scaled(polygon, source, resized) for polygon in segmentation]
        if resized == source and window is None:  # to the last pixel as COCO
            return _draw_all(polygons, *source).astype(bool)
        return _draw_polygons(polygons, window or (0, 0, *resized))
    if isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *source)
    mask = coco_mask.decode(segmentation).astype(bool)
    top, left, height, width = window or (0, 0, *resized)
    rows = _under_centres(top, height, source[0], resized[0])
    return np.take(mask[rows], _under_centres(left, width, source[1], resized[1]), axis=1)


def _scaled(
    polygon: Sequence[float], source: tuple[int, int], resized: tuple[int, int]
) -> NDArray[np.float64]:
    """(P, 2) x and y in resized pixels.

    Drawing takes memory for every pixel of an edge, so corners far outside the picture are brought nearer.
    """
    size = np.array(source[::-1], dtype=np.float64)
    return np.clip(np.reshape(polygon, (-1, 2)), -size, 2 * size) * (resized[::-1] / size)


def _draw_polygons(polygons: Sequence[NDArray[np.float64]], window: Window) -> NDArray[np.bool_]:
    """Only the pixels around the polygons are drawn: an object is seldom as large as its picture."""
    top, left, height, width = window
    corners = np.concatenate(polygons) - (left, top)
    x1, y1 = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, (width, height)).tolist()
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, (width, height)).tolist()
    mask = np.zeros((height, width), dtype=bool)
    if x1 < x2 and y1 < y2:
        moved = [polygon - (left + x1, top + y1) for polygon in polygons]
        mask[y1:y2, x1:x2] = _draw_all(moved, y2 - y1, x2 - x1)
    return mask


def _draw_all(polygons: Sequence[NDArray[np.float64]], height: int, width: int) -> NDArray[np.uint8]:
    flat = [polygon.ravel().tolist() for polygon in polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, height, width)))


def _under_centres(start: int, count: int, source: int, resized: int) -> NDArray[np.int64]:
    """For `count` resized rows from `start` on, the file's row under the centre of each."""
    centres = 2 * np.arange(start, start + count, dtype=np.int64) + 1  # in halves of pixels
    return centres * source // (2 * resized)
