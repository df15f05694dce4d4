"""Box arithmetic, batched over pictures. Callers pass float32: half precision moves boxes by whole pixels."""

import math

import torch
from torch import Tensor

# Largest dw and dh: a box grows at most from 16 to 1000 pixels (Detectron), so that exp never overflows.
MAX_LOG_SCALE = math.log(1000 / 16)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of every pair of a picture's boxes (N, G, 4) and (N, R, 4), xyxy: (N, G, R).

    NaN where neither box has an area.
    """
    first, second = boxes1[:, :, None], boxes2[:, None]
    overlap = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    intersection = _area(overlap.clamp(min=0))
    return intersection / (
        _area(first[..., 2:] - first[..., :2]) + _area(second[..., 2:] - second[..., :2]) - intersection
    )


def _area(size: Tensor) -> Tensor:
    return size[..., 0] * size[..., 1]


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size


def encode_boxes(boxes: Tensor, anchors: Tensor, *, weights: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Box regression targets relative to anchors (Girshick et al. 2014, appendix C).

    Args:
        boxes: (..., 4) xyxy, pixels.
        anchors: (..., 4) xyxy, pixels. A box or anchor without area gives infinities or NaN.
        weights: factors on the centre's and on the size's targets.
    Returns:
        (..., 4): dx, dy in anchor sizes; dw, dh as natural logs; all times their weights.
    """
    (centre, size), (anchor_centre, anchor_size) = _centre_and_size(boxes), _centre_and_size(anchors)
    shift = (centre - anchor_centre) / anchor_size * weights[0]
    scale = torch.log(size / anchor_size) * weights[1]
    return torch.cat([shift, scale], dim=-1)


def decode_boxes(deltas: Tensor, anchors: Tensor, *, weights: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """The inverse of encode_boxes, with dw and dh clamped at MAX_LOG_SCALE.

    Args:
        deltas: (..., 4) as encode_boxes returns.
        anchors: (..., 4) xyxy, pixels, broadcast against deltas.
        weights: those of encode_boxes.
    Returns:
        (..., 4) xyxy, pixels, not clipped.
    """
    centre, size = _centre_and_size(anchors)
    centre = centre + deltas[..., :2] / weights[0] * size
    size = size * torch.exp((deltas[..., 2:] / weights[1]).clamp(max=MAX_LOG_SCALE))
    return torch.cat([centre - 0.5 * size, centre + 0.5 * size], dim=-1)


def clip_boxes(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (N, R, 4) xyxy cut to their pictures, of which sizes (N, 2) are height and width."""
    limit = sizes.flip(1).repeat(1, 2)[:, None].to(boxes.dtype)
    return torch.minimum(boxes.clamp(min=0), limit)


def at_least(boxes: Tensor, min_size: float) -> Tensor:
    """(...,) bool: both sides of the box (..., 4) reach min_size pixels."""
    return (boxes[..., 2:] - boxes[..., :2] >= min_size).all(dim=-1)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Rows of values (N, M, D) by index (N, P): (N, P, D), as take_along_dim, which cannot be exported."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
