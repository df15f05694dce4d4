"""Regions of feature maps and of masks brought to a fixed grid (RoIAlign: He et al. 2017, §3)."""

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from training.devices import has_kernel

CANONICAL_SIZE, CANONICAL_STRIDE = 224, 16  # Lin et al. 2017, equation 1: such a region belongs to that level
MASK_SAMPLES = 5  # a side, in every cell of a mask; odd, so that none is exactly half full


def pool_regions(
    features: Sequence[Tensor],
    strides: Sequence[int],
    boxes: Tensor,
    size: int,
    *,
    sampling_ratio: int = 2,
    aligned: bool = True,
) -> Tensor:
    """RoIAlign, each region from the level that its area asks for.

    Gradients reach the features, not the boxes. Boxes may leave their picture or be empty.

    Args:
        features: (N, C, H, W) of every level.
        strides: of the levels, each twice the one before.
        boxes: (N, R, 4) xyxy, pixels.
        size, sampling_ratio: cells a side of the grid, and points a side in every cell.
        aligned: to half pixels; without, everything is read half a cell of the map further down and right,
            and a region is at least a cell wide, as in torchvision's detectors.
    Returns:
        (N · R, C, size, size) of the features' type; picture by picture. On a CPU also of their memory
        format: convolutions in channels_last can take much longer there.
    """
    boxes = boxes.detach().float()
    levels = region_levels(boxes, strides)
    by_kernel = _is_pooled_by_kernel(features[0].device) or torch.compiler.is_exporting()  # ONNX has RoIAlign
    pool = _pool_by_kernel if by_kernel else _pool_by_rows
    return pool(features, strides, boxes, levels, size, sampling_ratio, aligned)


@cache
def _is_pooled_by_kernel(device: torch.device) -> bool:
    """Whether torchvision's kernels are compiled for the device, and are right and fast there.

    On CPUs ours is the faster. On mps the backward kernel counted gradients several times over until 2026
    (torchvision pull request 9510), and a release cannot be asked whether it is mended.
    """
    kernels = ("torchvision::roi_align", "torchvision::_roi_align_backward")
    return device.type not in ("cpu", "mps") and all(has_kernel(kernel, device) for kernel in kernels)


def region_levels(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """The level of each region (Lin et al. 2017, equation 1): (N, R, 4) → (N, R) int64 index into strides."""
    if len(strides) == 1:
        return torch.zeros(boxes.shape[:2], dtype=torch.int64, device=boxes.device)
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    size = (sides[..., 0] * sides[..., 1]).sqrt()
    first = math.log2(strides[0])
    # torchvision adds 1e-6 against rounding just below a whole number.
    level = torch.floor(math.log2(CANONICAL_STRIDE) + torch.log2(size / CANONICAL_SIZE) + 1e-6) - first
    return level.nan_to_num().clamp(min=0, max=len(strides) - 1).long()


def _pool_by_kernel(
    features: Sequence[Tensor],
    strides: Sequence[int],
    boxes: Tensor,
    levels: Tensor,
    size: int,
    ratio: int,
    aligned: bool,
) -> Tensor:
    """torchvision's kernel on every level, for all regions: choosing those of a level would wait for the GPU.

    Regions of other levels are moved out of the map, where the kernel writes zeros and reads nothing; its
    backward pass skips them. So a level costs what its own regions cost, and the zeros.
    """
    # Not len(boxes), which would fix the number of pictures of an exported network.
    pictures = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    pictures = pictures[:, None, None].expand(*boxes.shape[:2], 1)
    pooled = [
        roi_align(
            level,
            torch.cat([pictures, torch.where((levels == i)[..., None], boxes, -1e6)], dim=2).flatten(0, 1),
            size,
            1 / stride,
            ratio,
            aligned=aligned,
        )
        for i, (level, stride) in enumerate(zip(features, strides, strict=True))
    ]
    return sum(pooled[1:], start=pooled[0])


def _pool_by_rows(
    features: Sequence[Tensor],
    strides: Sequence[int],
    boxes: Tensor,
    levels: Tensor,
    size: int,
    ratio: int,
    aligned: bool,
) -> Tensor:
    """For every cell of the grids a weighted sum of cells of the maps, all levels at once."""
    channels, dtype = features[0].shape[1], features[0].dtype
    table = torch.cat([level.permute(0, 2, 3, 1).reshape(-1, channels) for level in features]).float()
    shapes = torch.tensor([level.shape[2:] for level in features])
    rows_before = len(features[0]) * torch.cat([torch.zeros(1, dtype=torch.int64), shapes.prod(1).cumsum(0)])
    facts = (values.to(boxes.device) for values in (*shapes.T, rows_before))
    heights, widths, starts = (values[levels] for values in facts)
    pictures = torch.arange(len(boxes), device=boxes.device)[:, None]
    starts = starts + pictures * heights * widths
    scaled = boxes / torch.tensor(strides, device=boxes.device)[levels][..., None]
    start, end = (scaled - 0.5 if aligned else scaled).split(2, dim=-1)
    end = end if aligned else torch.maximum(end, start + 1)
    x, x_weights = _cells(start[..., 0], end[..., 0], widths, size, ratio)
    y, y_weights = _cells(start[..., 1], end[..., 1], heights, size, ratio)
    rows = starts[..., None, None] + y * widths[..., None, None]
    index = rows[:, :, :, None, :, None] + x[:, :, None, :, None, :]
    weights = y_weights[:, :, :, None, :, None] * x_weights[:, :, None, :, None, :]
    pooled = _weighted_rows(table, index.flatten(0, 3).flatten(1), weights.flatten(0, 3).flatten(1))
    pooled = pooled.view(-1, size, size, channels).permute(0, 3, 1, 2)
    layout = torch.contiguous_format if features[0].is_contiguous() else torch.channels_last
    return pooled.contiguous(memory_format=layout).to(dtype)


def _weighted_rows(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Sums (M, C) of rows of the table (P, C) float32, chosen by index (M, S) and weighted (M, S)."""
    if table.device.type != "cpu":  # the kernel below is not everywhere, and counting what is used would wait
        return _sum_of_columns(table, index, weights)
    used = weights != 0  # often a third of them; the backward pass takes time for each
    counts = used.sum(dim=1)
    starts = counts.cumsum(0) - counts
    with torch.autocast("cpu", enabled=False):
        return F.embedding_bag(index[used], table, starts, mode="sum", per_sample_weights=weights[used])


def _sum_of_columns(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """The same, place by place."""
    pooled = table.new_zeros(len(index), table.shape[1])
    for rows, weight in zip(index.unbind(1), weights.unbind(1), strict=True):
        pooled = pooled + table.index_select(0, rows) * weight[:, None]
    return pooled


def _cells(start: Tensor, end: Tensor, limit: Tensor, size: int, ratio: int) -> tuple[Tensor, Tensor]:
    """Along one axis, the cells that each cell of the grid takes from, and how much.

    Start and end (N, R) of the regions are in cells of the map, whose centres are whole numbers; it has
    `limit` (N, R). Gives (N, R, size, 2 · ratio) int64 and float32; where a cell stands twice, once weight 0.
    """
    width = ((end - start) / size)[..., None]
    points = torch.arange(size * ratio, device=start.device)
    # In torchvision's order, whose rounding is the same then.
    position = start[..., None] + points // ratio * width
    position = position + (points % ratio + 0.5) * width / ratio
    limit = limit[..., None]
    inside = (position >= -1) & (position <= limit)  # torchvision's rule: up to a cell beyond is the border's
    position = torch.minimum(position.clamp(min=0), limit - 1)
    low = torch.minimum(position.long().clamp(min=0), limit - 1)  # of NaN anything, which must be a cell
    share = position - low
    weights = torch.stack([1 - share, share], dim=-1) * (inside / ratio)[..., None]
    cells = torch.stack([low, torch.minimum(low + 1, limit - 1)], dim=-1)
    shape = (*start.shape, size, 2 * ratio)
    cells, weights = cells.view(shape), weights.view(shape)
    same = cells[..., None] == cells[..., None, :]
    repeated = same.tril(-1).any(dim=-1)
    return cells, (same * weights[..., None, :]).sum(dim=-1).masked_fill(repeated, 0)


def mask_targets(masks: Tensor, objects: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The object's part of each cell of a grid over the region: 1 from one half on.

    Args:
        masks: (N, G, H, W / 8) uint8, packed as Batch.masks.
        objects, boxes: (N, R) int64, the object of each region, and the regions (N, R, 4) xyxy, pixels.
    Returns:
        (N, R, size, size) float32, 0 or 1.
    """
    pictures, slots, height, width = masks.shape
    boxes = boxes.detach().float()
    x = _pixels(boxes[..., 0], boxes[..., 2], 8 * width, size).flatten(0, 1)[:, None]
    y = _pixels(boxes[..., 1], boxes[..., 3], height, size)
    owners = objects + torch.arange(pictures, device=objects.device)[:, None] * slots
    rows = (owners[..., None] * height + y).flatten()
    # Whole rows of bytes first: that is cheaper than the address of every sample.
    packed = masks.reshape(-1, width).index_select(0, rows).view(-1, y.shape[-1], width)
    packed = packed.gather(2, (x // 8).expand(-1, y.shape[-1], -1))
    bits = (packed >> (7 - x % 8).to(torch.uint8)) & 1
    # Rows first, which is ten times faster.
    counts = bits.unflatten(1, (size, -1)).sum(dim=2, dtype=torch.uint8)
    counts = counts.unflatten(2, (size, -1)).sum(dim=3, dtype=torch.uint8)
    return (2 * counts > MASK_SAMPLES**2).float().unflatten(0, boxes.shape[:2])


def _pixels(start: Tensor, end: Tensor, limit: int, size: int) -> Tensor:
    """Along one axis, the pixels sampled for each cell of the grid: (N, R, size · MASK_SAMPLES) int64.

    The samples of a cell spread over what RoIAlign of the mask averages: the cell, but not less than a pixel.
    """
    step = ((end - start) / size)[..., None, None]
    centres = torch.arange(size, device=start.device)[:, None] + 0.5
    spread = (torch.arange(MASK_SAMPLES, device=start.device) + 0.5) / MASK_SAMPLES - 0.5
    position = start[..., None, None] + step * centres + spread * step.clamp(min=1)
    return position.floor().clamp(min=0, max=limit - 1).long().flatten(2)
