"""Masks of a detector, small grids over boxes, as run-lengths of whole pictures."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from detection.types import RunLength
from pictures.annotations.coco_masks import whole_run_length

_Floats = NDArray[np.float64]
_Pixels = NDArray[np.int64]


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> list[RunLength]:
    """Which pixels each object covers: those at whose centre its mask, read bilinearly, is at least 0.5.

    The grid's cells divide the box evenly and a pixel's centre lies at + 0.5, as detectron2 pastes.
    torchvision rounds the box to whole pixels first, which moves a mask by up to a pixel. Nothing outside the
    box can reach 0.5, so only its pixels are computed.

    Args:
        masks: (D, M, M) float32 probabilities.
        boxes: (D, 4) xyxy in the pixels of the file.
        size: (height, width) of the file.
    Returns:
        D run-lengths; without any pixel where the box holds no pixel's centre.
    """
    return [_run_length(values >= 0.5, start, size) for start, values in _pasted(masks, boxes, size)]


def paste_means(
    masks: Tensor, boxes: Tensor, weights: Tensor, objects: Sequence[Tensor], size: tuple[int, int]
) -> list[RunLength]:
    """As `paste_masks`, of objects that were each found several times.

    A pixel is an object's where the weighted mean of its masks is at least 0.5; outside its box a mask is 0.

    Args:
        weights: (D,) above 0.
        objects: for each of R objects the rows of its masks.
    Returns:
        R run-lengths.
    """
    return [_mean(list(_pasted(masks[rows], boxes[rows], size)), weights[rows], size) for rows in objects]


def mean_masks(
    masks: Sequence[RunLength], weights: Tensor, objects: Sequence[Tensor], size: tuple[int, int]
) -> list[RunLength]:
    """As `paste_means`, of masks of whole pictures; an object that was found once keeps its mask."""
    means = []
    for rows in map(Tensor.tolist, objects):
        parts = [_cut_out(masks[row]) for row in rows] if len(rows) > 1 else []
        means.append(_mean(parts, weights[rows], size) if parts else masks[rows[0]])
    return means


def _cut_out(mask: RunLength) -> tuple[_Pixels, _Floats]:
    """A mask's part with pixels, as `_pasted` gives it."""
    left, top, width, height = np.array(mask_boxes([mask])[0]).astype(int).tolist()
    inside = decode_mask(mask)[top : top + height, left : left + width]
    return np.array([left, top]), inside.T.astype(np.float64)


def _mean(parts: list[tuple[_Pixels, _Floats]], weights: Tensor, size: tuple[int, int]) -> RunLength:
    """Where the weighted mean of masks as `_pasted` gives them is at least 0.5."""
    first = np.min([start for start, _ in parts], axis=0)
    after = np.max([start + values.shape for start, values in parts], axis=0)
    mean, shares = np.zeros(after - first), weights.double()
    for (start, values), share in zip(parts, (shares / shares.sum()).tolist(), strict=True):
        left, top = start - first
        mean[left : left + values.shape[0], top : top + values.shape[1]] += share * values
    return _run_length(mean >= 0.5, first, size)


def _pasted(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Iterator[tuple[_Pixels, _Floats]]:
    """Of each mask the first pixel (x, y) with its centre in the box, and values (columns, rows) from it."""
    corners = boxes.double().numpy()
    limits = np.array([size[1], size[0]] * 2)
    # The first pixel with its centre in the box and the one after the last.
    first = np.clip(np.ceil(corners[:, :2] - 0.5), 0, limits[:2]).astype(int)
    after = np.clip(np.floor(corners[:, 2:] - 0.5) + 1, first, limits[2:]).astype(int)
    cells = masks.shape[-1]
    for mask, (x1, y1, x2, y2), start, stop in zip(
        masks.double().numpy(), corners.tolist(), first, after, strict=True
    ):
        across = _weights(x1, x2, start[0], stop[0], cells)
        down = _weights(y1, y2, start[1], stop[1], cells)
        yield start, across @ mask.T @ down.T


def _weights(low: float, high: float, start: int, stop: int, cells: int) -> _Floats:
    """(pixels, cells) how much each cell's value counts at each pixel's centre; zeros lie around the grid."""
    scale = cells / max(high - low, np.finfo(np.float64).tiny)
    places = (np.arange(start, stop) + 0.5 - low) * scale - 0.5
    return np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0)


def _run_length(inside: NDArray[np.bool_], start: _Pixels, size: tuple[int, int]) -> RunLength:
    """Of a picture that is empty but for `inside` (columns, rows) from `start` (x, y) on."""
    height, width = size
    band = np.zeros((len(inside), height), dtype=bool)
    band[:, start[1] : start[1] + inside.shape[1]] = inside
    pixels = np.concatenate([[False], band.ravel(), [False]])
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + start[0] * height
    ends = changes if len(changes) and changes[-1] == height * width else [*changes, height * width]
    counts = np.diff(ends, prepend=0).tolist()
    encoded = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": encoded["counts"].decode()}


def as_run_length(segmentation: Any, size: tuple[int, int]) -> RunLength:
    """Polygons or run-lengths of a checked entry as one compressed run-length of size (height, width)."""
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return {"size": list(size), "counts": segmentation["counts"]}
    if isinstance(segmentation, dict):
        segmentation = whole_run_length(segmentation)
    encoded = coco_mask.frPyObjects(segmentation, *size)
    whole = coco_mask.merge(encoded) if isinstance(encoded, list) else encoded
    return {"size": list(size), "counts": whole["counts"].decode()}


def mask_area(mask: RunLength) -> int:
    """Its pixels."""
    return int(coco_mask.area(mask))


def mask_boxes(masks: Sequence[RunLength]) -> list[list[float]]:
    """The smallest boxes around masks: x, y, width, height in pixels, zeros around nothing."""
    return coco_mask.toBbox(list(masks)).tolist()


def decode_mask(mask: RunLength) -> NDArray[np.bool_]:
    """(height, width)."""
    return coco_mask.decode(mask).astype(bool)
