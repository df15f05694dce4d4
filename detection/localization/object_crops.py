"""The training pictures of the per-class RPN: crops at random scales that show an object."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from detection.data.detection_batches import Sample, collate
from detection.data.transforms import View, scaled_size
from detection.localization.localization_config import LocalizationData
from detection.localization.one_class_pictures import OneClassPictures
from detection.types import Batch, Window
from pictures.decoding import load_image
from training.loader import Item

TRIES = 10  # of windows at random places, before one is laid around an object
LEAST_VISIBLE = 0.25  # share of an object's area in the crop from which on it is trained on


class ObjectCrops:
    """Pictures decoded, scaled, cropped and mirrored at random; with the objects in view.

    Everything random comes from `Item.seed`.
    """

    def __init__(self, pictures: OneClassPictures, options: LocalizationData) -> None:
        self.pictures, self.options = pictures, options

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, items: Sequence[Item]) -> Batch:
        """The batch of these items, each with at least one object."""
        return collate([self.sample(item) for item in items])

    def sample(self, item: Item) -> Sample:
        """One crop of image_size pixels a side, of which at least a quarter of an object can be seen."""
        rng = np.random.default_rng(item.seed)
        target = self.pictures.load_target(item.index)
        view, seen = crop_of_object(target.size, target.boxes, self.options, rng)
        pixels = torch.from_numpy(load_image(self.pictures.image_path(item.index), target.size))
        return Sample(
            image=view.image(pixels.permute(2, 0, 1)),
            scale=view.scale,
            boxes=view.boxes(target.boxes)[seen],
            labels=target.labels[seen],
            seed=item.seed,
            id=str(target.image_id),
        )


def crop_of_object(
    size: tuple[int, int], boxes: Tensor, options: LocalizationData, rng: np.random.Generator
) -> tuple[View, Tensor]:
    """A crop at a random scale and place, and which of the boxes (R, 4) can be seen enough, (R,) bool.

    The paper's crops are placed at random. One without an object teaches no class anything, so another is
    drawn; after ten the centre of a random object becomes that of the crop, as far as the picture reaches.
    """
    resized = scaled_size(size, rng.uniform(*options.jitter()) / min(size))
    side, mirrored = options.image_size, bool(options.flip and rng.random() < 0.5)
    for _ in range(TRIES):
        top, left = (int(rng.integers(0, length - side + 1)) for length in resized)
        view = View(size, resized, (top, left, side, side), mirrored)
        seen = visible(boxes, view) >= LEAST_VISIBLE
        if seen.any():
            return view, seen
    box = boxes[int(rng.integers(len(boxes)))]
    view = View(size, resized, _around(box, size, resized, side), mirrored)
    shares = visible(boxes, view)
    return view, shares >= min(LEAST_VISIBLE, float(shares.max()))  # of a huge one less than a quarter fits


def visible(boxes: Tensor, view: View) -> Tensor:
    """(R,) the share of each box (R, 4) of the file that a view shows."""
    whole, shown = View(view.source, view.resized).boxes(boxes), view.boxes(boxes)
    areas, seen = (
        (b[:, 2] - b[:, 0]).clamp(min=0) * (b[:, 3] - b[:, 1]).clamp(min=0) for b in (whole, shown)
    )
    return seen / areas.clamp(min=torch.finfo(areas.dtype).tiny)


def _around(box: Tensor, size: tuple[int, int], resized: tuple[int, int], side: int) -> Window:
    """The window whose centre is that of a box of the file, moved into the picture."""
    x1, y1, x2, y2 = box.tolist()
    centres = (y1 + y2) / 2 * resized[0] / size[0], (x1 + x2) / 2 * resized[1] / size[1]
    top, left = (
        min(max(round(centre - side / 2), 0), length - side)
        for centre, length in zip(centres, resized, strict=True)
    )
    return top, left, side, side
