"""Regions of pictures warped to squares: what R-CNN is trained on, and what it looks at afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from detection.localization.box_lists import BoxLists
from detection.localization.localization_config import LocalizationData, RegionConfig
from detection.localization.one_class_pictures import OneClassPictures
from detection.model.boxes import box_iou, encode_boxes
from pictures.decoding import load_image
from training.devices import send
from training.loader import Item

BOX_WEIGHTS = (10.0, 5.0)  # of the boxes' centres and sizes, as Fast R-CNN's


@dataclass(frozen=True)
class RegionBatch:
    """R regions, each of a picture of its own.

    Attributes:
        images: (R, 3, S, S) uint8 RGB.
        labels: (R,) int64, the picture's class, 1…K.
        positive: (R,) bool, whether the region is an object of it.
        targets: (R, 4) float32, as `encode_boxes` with BOX_WEIGHTS; zeros where it is not.
        ids: R picture ids as text.
    """

    images: Tensor
    labels: Tensor
    positive: Tensor
    targets: Tensor
    ids: list[str]

    def to(self, device: torch.device | str) -> "RegionBatch":
        """The same batch on another device, copied without waiting where the memory is pinned."""
        return self._map(lambda tensor: send(tensor, device))

    def pin_memory(self) -> "RegionBatch":
        """Called by DataLoader: makes copies to a GPU asynchronous."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "RegionBatch":
        mapped: dict[str, Any] = {n: function(v) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **mapped)


class DrawnRegions:
    """One region a picture, drawn from its proposals and its objects.

    That is the RoI-centric sampling of R-CNN: the regions of a batch are of different pictures. Everything
    random comes from `Item.seed`.

    Args:
        proposals: of the true class of every picture, in the order of the pictures.
    """

    def __init__(
        self,
        pictures: OneClassPictures,
        proposals: BoxLists,
        data: LocalizationData,
        options: RegionConfig,
    ) -> None:
        self.pictures, self.proposals, self.data, self.options = pictures, proposals, data, options

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, items: Sequence[Item]) -> RegionBatch:
        """The batch of these items."""
        images, positive, targets = zip(*map(self._region, items), strict=True)
        labels = [self.pictures.image_labels[item.index] for item in items]
        return RegionBatch(
            images=torch.cat(images),
            labels=torch.tensor(labels),
            positive=torch.tensor(positive),
            targets=torch.stack(targets),
            ids=[str(self.pictures.image_ids[item.index]) for item in items],
        )

    def _region(self, item: Item) -> tuple[Tensor, bool, Tensor]:
        """(1, 3, S, S), whether it is an object, and (4,) its targets."""
        rng = np.random.default_rng(item.seed)
        target = self.pictures.load_target(item.index)
        mirrored = self.data.flip and rng.random() < 0.5
        boxes, _ = self.proposals.of(item.index, self.pictures.image_labels[item.index])
        region, positive, targets = draw_region(
            rng, torch.cat([boxes, target.boxes]), target.boxes, self.options
        )
        pixels = load_image(self.pictures.image_path(item.index), target.size)
        image = warp(pixels, region[None], self.data.image_size)
        if mirrored:
            return image.flip(3), positive, targets * torch.tensor([-1.0, 1.0, 1.0, 1.0])
        return image, positive, targets


def draw_region(
    rng: np.random.Generator, regions: Tensor, objects: Tensor, options: RegionConfig
) -> tuple[Tensor, bool, Tensor]:
    """One of the regions (R, 4), whether it is one of the objects (G, 4), and its targets (4,).

    An object's with the probability `positive_fraction`, as far as there are both kinds.
    """
    overlap, owner = box_iou(objects[None], regions[None])[0].max(dim=0)
    is_object = overlap >= options.positive_iou
    wanted = bool(rng.random() < options.positive_fraction)
    chosen = is_object if wanted and is_object.any() or is_object.all() else ~is_object
    row = int(rng.choice(np.flatnonzero(chosen.numpy())))
    if not is_object[row]:
        return regions[row], False, torch.zeros(4)
    return regions[row], True, encode_boxes(objects[owner[row]], regions[row], weights=BOX_WEIGHTS)


def warp(pixels: NDArray[np.uint8], regions: Tensor, size: int) -> Tensor:
    """Regions (R, 4) of a picture (H, W, 3), each stretched to a square: (R, 3, size, size) uint8.

    They are rounded to whole pixels, at least one, inside the picture.
    """
    picture = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    height, width = pixels.shape[:2]
    warped = []
    for x1, y1, x2, y2 in regions.round().long().tolist():
        left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
        right, bottom = max(min(x2, width), left + 1), max(min(y2, height), top + 1)
        part = picture[:, :, top:bottom, left:right]
        warped.append(F.interpolate(part, (size, size), mode="bilinear", antialias=True))
    return torch.cat(warped) if warped else picture.new_zeros(0, 3, size, size)
