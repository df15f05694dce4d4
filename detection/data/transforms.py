"""What of a picture a network sees, applied alike to pixels, boxes and masks."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from detection.types import Window


def resized_size(size: tuple[int, int], short_side: int, max_side: int) -> tuple[int, int]:
    """Height and width with the short side at `short_side`, unless the long one would exceed `max_side`.

    Faster R-CNN's rule (Ren et al. 2015, §3.3; py-faster-rcnn: 600 and 1000).
    """
    return scaled_size(size, min(short_side / min(size), max_side / max(size)))


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Height and width times `scale`, rounded, at least one pixel."""
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


@dataclass(frozen=True)
class View:
    """A picture resized, then cropped, then perhaps mirrored left and right.

    Attributes:
        source: (height, width) of the file.
        resized: (height, width) of the whole picture after resizing.
        window: (top, left, height, width) of what is seen, in resized pixels; None sees everything.
        mirrored: left and right are exchanged.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    window: Window | None = None
    mirrored: bool = False

    @property
    def scale(self) -> tuple[float, float]:
        """Resized over file size, y then x: what the rounded sizes really give on each axis."""
        return self.resized[0] / self.source[0], self.resized[1] / self.source[1]

    @property
    def shown(self) -> tuple[int, int]:
        """(height, width) of what is seen."""
        return self.resized if self.window is None else self.window[2:]

    def image(self, image: Tensor) -> Tensor:
        """The pixels seen, bilinear and antialiased.

        Args:
            image: (3, H, W) uint8, the file's.
        """
        if self.resized != self.source:
            image = F.interpolate(image[None], self.resized, mode="bilinear", antialias=True)[0]
        if self.window is not None:
            top, left, height, width = self.window
            image = image[:, top : top + height, left : left + width]
        return image.flip(2) if self.mirrored else image

    def boxes(self, boxes: Tensor) -> Tensor:
        """Boxes (R, 4) of the file in pixels of the view; a window clips them, perhaps to nothing."""
        scale_y, scale_x = self.scale
        boxes = boxes * torch.tensor([scale_x, scale_y, scale_x, scale_y])
        width = self.resized[1]
        if self.window is not None:
            top, left, height, width = self.window
            boxes = boxes - torch.tensor([left, top, left, top])
            boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
        if not self.mirrored:
            return boxes
        x1, y1, x2, y2 = boxes.unbind(1)
        return torch.stack([width - x2, y1, width - x1, y2], dim=1)

    def packed_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """A mask of what is seen, not mirrored yet, as rows of bits (np.packbits) of the view."""
        if not self.mirrored:
            return np.packbits(mask, axis=1)
        # Mirroring bytes is quicker than mirroring pixels.
        padded = np.pad(mask, ((0, 0), (-mask.shape[1] % 8, 0)))
        return np.packbits(padded, axis=1, bitorder="little")[:, ::-1].copy()


def jittered_view(
    size: tuple[int, int], jitter: tuple[float, float], crop: int, rng: np.random.Generator
) -> View:
    """Large-scale jitter (Ghiasi et al. 2021): a random scale, and a window at a random place.

    Args:
        size: (height, width) of the picture's file.
        jitter: least and greatest factor of the size at which the picture just fits into `crop`.
        crop: pixels of the window's sides; where the picture is smaller, so is the window.
    """
    scaled = scaled_size(size, rng.uniform(*jitter) * crop / max(size))
    height, width = (min(side, crop) for side in scaled)
    if scaled == (height, width):
        return View(size, scaled)
    top, left = (int(rng.integers(0, side - crop + 1)) if side > crop else 0 for side in scaled)
    return View(size, scaled, (top, left, height, width))
