"""Box arithmetic, batched over pictures. Callers pass float32: half precision moves boxes by whole pixels."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import nms

# Largest dw and dh: a box grows at most from 16 to 1000 pixels (Detectron), so that exp never overflows.
MAX_LOG_SCALE = math.log(1000 / 16)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of every pair of one picture's boxes.

    Args:
        boxes1: (N, G, 4) xyxy.
        boxes2: (N, R, 4) xyxy.
    Returns:
        (N, G, R); NaN where neither box has an area.
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
    """Boxes cut to their pictures.

    Args:
        boxes: (N, R, 4) xyxy.
        sizes: (N, 2) height and width.
    """
    limit = sizes.flip(1).repeat(1, 2)[:, None].to(boxes.dtype)
    return torch.minimum(boxes.clamp(min=0), limit)


def at_least(boxes: Tensor, min_size: float) -> Tensor:
    """(...,) bool: both sides of the box (..., 4) reach min_size pixels."""
    return (boxes[..., 2:] - boxes[..., :2] >= min_size).all(dim=-1)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Rows of values (N, M, D) by index (N, P): (N, P, D), as take_along_dim, which cannot be exported."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def padded_nms(
    boxes: Tensor,
    scores: Tensor,
    valid: Tensor,
    *,
    threshold: float,
    count: int,
    groups: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression in fixed shapes, without waiting for a GPU.

    Args:
        boxes: (N, M, 4) xyxy, float32 or float64.
        scores: (N, M); of equal ones the first is the better.
        valid: (N, M) bool; the others neither suppress nor are kept.
        threshold: boxes with a larger IoU with a better box go.
        count: boxes kept per picture.
        groups: (N, M) int64; boxes of different groups do not suppress each other.
    Returns:
        index (N, count) into M by falling score, and kept (N, count) bool, False where nothing was left.
    """
    greedy = _greedy_by_kernel if boxes.device.type == "cpu" else _greedy_in_rounds
    if groups is None:
        groups = torch.zeros_like(valid, dtype=torch.int64)
    keep = greedy(boxes, scores, valid, groups, threshold)
    ranking = scores.masked_fill(~keep, -math.inf)
    index = ranking.argsort(dim=1, descending=True, stable=True)[:, :count]
    missing = count - index.shape[1]
    return F.pad(index, (0, missing)), F.pad(keep.gather(1, index), (0, missing))


@torch.library.custom_op("residual_backbones::greedy_by_kernel", mutates_args=())
def _greedy_by_kernel(
    boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, threshold: float
) -> Tensor:
    """(N, M) bool by torchvision, group by group: offsets between groups would cost digits, and pairs."""
    keep = torch.zeros_like(valid)
    scores = scores.to(boxes.dtype)  # nms wants one type
    for i, picture in enumerate(valid):
        rows = picture.nonzero()[:, 0]
        order = groups[i, rows].argsort(stable=True)
        sizes = groups[i, rows].unique(return_counts=True)[1]
        for members in rows[order].split(sizes.tolist()):
            keep[i, members[nms(boxes[i, members], scores[i, members], threshold)]] = True
    return keep


@_greedy_by_kernel.register_fake
def _(boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, threshold: float) -> Tensor:
    return torch.empty_like(valid)


def _greedy_in_rounds(
    boxes: Tensor,
    scores: Tensor,
    valid: Tensor,
    groups: Tensor,
    threshold: float,
    *,
    rounds: int = 16,
    block: int = 2048,
) -> Tensor:
    """(N, M) bool, block by block of falling score, in a number of steps that only depends on M.

    Within a block, taking all boxes for kept gives too few survivors, taking those for kept too many, and so
    on; 2 · rounds turns settle every box behind a chain of at most as many suppressions. Behind longer chains
    boxes stay open and are left out: what is kept is part of the exact result, and all of it but for those.
    """
    order = scores.masked_fill(~valid, -math.inf).argsort(dim=1, descending=True, stable=True)
    boxes, groups = boxes.take_along_dim(order[..., None], dim=1), groups.gather(1, order)
    keep = valid.gather(1, order)
    for start in range(0, keep.shape[1], block):
        part = slice(start, start + block)
        over = _suppresses(boxes, groups, slice(start), part, threshold)
        alive = keep[:, part] & ~(over & keep[:, :start, None]).any(dim=1)
        over = _suppresses(boxes, groups, part, part, threshold).triu(1)
        most = alive
        for _ in range(rounds):
            least = alive & ~(over & most[..., None]).any(dim=1)
            most = alive & ~(over & least[..., None]).any(dim=1)
        keep = torch.cat([keep[:, :start], least, keep[:, start + block :]], dim=1)
    return torch.zeros_like(keep).scatter(1, order, keep)


def _suppresses(boxes: Tensor, groups: Tensor, better: slice, worse: slice, threshold: float) -> Tensor:
    """(N, better, worse) bool, whether the IoU is above the threshold, within groups."""
    over = box_iou(boxes[:, better], boxes[:, worse]) > _exact(threshold, boxes.dtype)
    return over & (groups[:, better, None] == groups[:, None, worse])


def _exact(threshold: float, dtype: torch.dtype) -> float:
    """The largest number of the type that is not above; comparisons round, but torchvision's on the CPU."""
    rounded = torch.tensor(threshold, dtype=dtype)
    if rounded.item() > threshold:
        rounded = rounded.nextafter(torch.tensor(-math.inf, dtype=dtype))
    return rounded.item()
