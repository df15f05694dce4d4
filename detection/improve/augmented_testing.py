"""Test-time augmentation: mirrored and resized copies of a picture; boxes and masks moved back from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from detection.data.dataset_splits import DataConfig
from detection.data.transforms import View, resized_size
from detection.improve.improve_options import SCALES, Augmentations


@dataclass(frozen=True)
class Augmentation:
    """One way to look at a picture.

    Attributes:
        short_side, max_side: as of `DataConfig`.
        mirrored: left and right are exchanged.
    """

    short_side: int
    max_side: int
    mirrored: bool = False

    def view(self, size: tuple[int, int]) -> View:
        """Of a picture (height, width)."""
        return View(size, resized_size(size, self.short_side, self.max_side), mirrored=self.mirrored)

    def times(self, ratio: float, *, mirrored: bool) -> "Augmentation":
        """The same, so much larger."""
        short_side = max(1, round(self.short_side * ratio))
        return Augmentation(short_side, max(short_side, round(self.max_side * ratio)), mirrored)


def at_short_side(data: DataConfig, side: int) -> Augmentation:
    """A picture at another short side than `data.short_side`; the long side's limit grows with it."""
    return Augmentation(data.short_side, data.max_side).times(side / data.short_side, mirrored=False)


def augmentations_of(asked: Augmentations, data: DataConfig) -> list[Augmentation]:
    """Every short side, each as it is and, if asked for, mirrored."""
    sides: Sequence[int] = (data.short_side,) if asked.short_sides is None else asked.short_sides
    sides = sides or list(dict.fromkeys(max(1, round(scale * data.short_side)) for scale in SCALES))
    return [
        replace(at_short_side(data, side), mirrored=mirrored)
        for side in sides
        for mirrored in ([False, True] if asked.flip else [False])
    ]


def boxes_of_file(boxes: Tensor, view: View) -> Tensor:
    """Boxes (D, 4) xyxy of a view without a window, in pixels of the file: the inverse of `View.boxes`."""
    if view.mirrored:
        x1, y1, x2, y2 = boxes.unbind(dim=1)
        width = view.resized[1]
        boxes = torch.stack([width - x2, y1, width - x1, y2], dim=1)
    scale_y, scale_x = view.scale
    return boxes / torch.tensor([scale_x, scale_y, scale_x, scale_y], dtype=boxes.dtype)


def grids_of_file(grids: Tensor, view: View) -> Tensor:
    """Masks (D, M, M) over their boxes in a view, as they lie over the boxes of the file."""
    return grids.flip(2) if view.mirrored else grids
