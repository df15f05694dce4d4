"""Resizing and flipping pictures together with their objects."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from detection.types import Target


def resized_size(size: tuple[int, int], short_side: int, max_side: int) -> tuple[int, int]:
    """Height and width with the short side at `short_side`, unless the long one would exceed `max_side`.

    Faster R-CNN's rule (Ren et al. 2015, §3.3; py-faster-rcnn: 600 and 1000).
    """
    scale = min(short_side / min(size), max_side / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def resize(image: Tensor, target: Target, size: tuple[int, int]) -> tuple[Tensor, Target]:
    """Resize to (height, width), bilinear and antialiased.

    Boxes are scaled by what the rounded sizes really give on each axis, so that dividing by the same scales
    maps predictions back exactly.

    Args:
        image: (3, H, W) uint8.
    """
    if tuple(image.shape[1:]) == size:
        return image, target
    scale_y, scale_x = (new / old for new, old in zip(size, image.shape[1:], strict=True))
    resized = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
    boxes = target.boxes * torch.tensor([scale_x, scale_y, scale_x, scale_y])
    masks = target.masks
    if masks is not None:
        masks = _resize_masks(masks, size)
    return resized, replace(target, boxes=boxes, masks=masks)


def _resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    if not len(masks):
        return masks.new_zeros((0, *size))  # `interpolate` refuses to resize nothing
    # "nearest" without "-exact" would shift by half a pixel.
    return F.interpolate(masks[None].to(torch.uint8), size, mode="nearest-exact")[0].bool()


def flip(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Mirror left and right.

    Args:
        image: (3, H, W) uint8.
    """
    x1, y1, x2, y2 = target.boxes.unbind(1)
    width = image.shape[2]
    boxes = torch.stack([width - x2, y1, width - x1, y2], dim=1)
    masks = None if target.masks is None else target.masks.flip(2)
    return image.flip(2), replace(target, boxes=boxes, masks=masks)
