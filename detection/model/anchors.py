"""Anchors: the boxes the region proposal network classifies and corrects (Ren et al. 2015)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

AnchorGrid = Literal["strides", "padded"]


def anchor_steps(
    grid: AnchorGrid, strides: Sequence[int], shapes: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Pixels from one anchor to the next, down and across, on maps of these strides and shapes.

    "padded" divides the padded picture's sides, which the first stride divides, by the map's.
    """
    if grid == "strides":
        return [(stride, stride) for stride in strides]
    height, width = (side * strides[0] for side in shapes[0])
    return [(height // rows, width // columns) for rows, columns in shapes]


def make_anchors(
    strides: tuple[int, int],
    shape: tuple[int, int],
    *,
    sizes: tuple[float, ...],
    ratios: tuple[float, ...],
    device: torch.device,
) -> Tensor:
    """Every anchor of a feature map of `shape` (height, width).

    Args:
        strides: pixels from one cell to the next, down and across.
        sizes: square roots of the anchors' areas, pixels.
        ratios: height over width.
    Returns:
        (height · width · A, 4) float32 xyxy in pixels, A = len(ratios) · len(sizes): rows, columns, ratios,
        sizes, the last running fastest.
    """
    rows, columns = (torch.arange(side, device=device) * n for side, n in zip(shape, strides, strict=True))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    # Centres fall on multiples of the stride: with padding of (k - 1) / 2, that is where the cells look.
    centres = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (centres + _shapes(sizes, ratios, device)).reshape(-1, 4)


@lru_cache(maxsize=64)  # a copy to the GPU in every step would wait for it
@torch.inference_mode(False)  # cached tensors made in inference mode could never meet autograd again
def _shapes(sizes: tuple[float, ...], ratios: tuple[float, ...], device: torch.device) -> Tensor:
    """(A, 4) anchors around the origin, corners rounded to whole pixels as in torchvision."""
    root = torch.tensor(ratios, dtype=torch.float32).sqrt()[:, None]
    size = torch.tensor(sizes, dtype=torch.float32)[None, :]
    half = torch.stack([1 / root * size, root * size], dim=-1).view(-1, 2) / 2
    return torch.cat([-half, half], dim=1).round().to(device)
