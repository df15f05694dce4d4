"""What training sees of a picture and its label map: scaled, cropped and perhaps mirrored alike."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from segmentation.data.label_maps import Labels
from segmentation.data.segmentation_sets import SegmentationData


@dataclass(frozen=True)
class CropView:
    """A picture resized, of which a window is seen, perhaps with left and right exchanged.

    Attributes:
        resized: (height, width) of the whole picture after resizing.
        top, left: of the window, in resized pixels.
        shown: (height, width) of the window.
        mirrored: left and right are exchanged.
    """

    resized: tuple[int, int]
    top: int
    left: int
    shown: tuple[int, int]
    mirrored: bool

    def image(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(3, h, w) uint8 of the pixels (H, W, 3), bilinear and antialiased."""
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        if self.resized != pixels.shape[:2]:
            image = F.interpolate(image[None], self.resized, mode="bilinear", antialias=True)[0]
        height, width = self.shown
        image = image[:, self.top : self.top + height, self.left : self.left + width]
        return image.flip(2) if self.mirrored else image

    def labels(self, labels: Labels) -> Tensor:
        """(h, w) uint8: each pixel has the class under its centre."""
        rows = _under_centres(self.top, self.shown[0], labels.shape[0], self.resized[0])
        columns = _under_centres(self.left, self.shown[1], labels.shape[1], self.resized[1])
        return torch.from_numpy(labels[rows][:, columns[::-1] if self.mirrored else columns])


def _under_centres(start: int, count: int, source: int, resized: int) -> NDArray[np.int64]:
    """For `count` resized rows from `start` on, the file's row under the centre of each."""
    centres = 2 * np.arange(start, start + count, dtype=np.int64) + 1  # in halves of pixels
    return centres * source // (2 * resized)


def scaled_by(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Height and width times a factor, rounded, at least one pixel."""
    height, width = (max(1, round(side * factor)) for side in size)
    return height, width


def evaluated_size(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """(height, width) that a network is given of a picture in evaluation."""
    return size if short_side is None else scaled_by(size, short_side / min(size))


def random_view(size: tuple[int, int], data: SegmentationData, seed: int) -> CropView:
    """What training sees of a picture (height, width) of this seed."""
    rng = np.random.default_rng(seed)
    resized = scaled_by(evaluated_size(size, data.short_side), rng.uniform(*data.scale))
    shown = min(resized[0], data.crop), min(resized[1], data.crop)
    top, left = (int(rng.integers(side - part + 1)) for side, part in zip(resized, shown, strict=True))
    return CropView(resized, top, left, shown, mirrored=bool(data.flip and rng.random() < 0.5))
