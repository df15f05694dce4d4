"""What flows through detection: targets, predictions and batches.

Boxes are (x1, y1, x2, y2) in pixels with the origin at the top-left corner and no "+1"; labels are 1…K.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.devices import send

Window = tuple[int, int, int, int]  # top, left, height, width; pixels


class RunLength(TypedDict):
    """A mask as COCO's compressed run-length: size [height, width], and counts as text."""

    size: list[int]
    counts: str


class DrawMask(Protocol):
    """Gives an object's mask (height, width): of the file's size, or of a window of the resized picture."""

    def __call__(
        self, number: int, /, resized: tuple[int, int] | None = None, window: Window | None = None
    ) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class Target:
    """The objects of one picture, in the pixels of its file.

    Attributes:
        boxes: (R, 4) xyxy; float32 for training, float64 as the annotations state them.
        labels: (R,) int64, 1…K.
        ignore: (R,) bool, objects that count neither as found nor as missed (VOC difficult, COCO crowd).
        image_id: as the data set gives it.
        size: (height, width) of the picture's file.
        mask: draws the mask of object 0…R-1, where the data set has masks and they were asked for. One at a
            time, since hundreds of them would fill the memory.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    image_id: int | str
    size: tuple[int, int]
    mask: DrawMask | None = None

    def __post_init__(self) -> None:
        _check("boxes", self.boxes, (len(self.boxes), 4), torch.float32, torch.float64)
        _check("labels", self.labels, (len(self.boxes),), torch.int64)
        _check("ignore", self.ignore, (len(self.boxes),), torch.bool)

    def of_rows(self, rows: Tensor) -> "Target":
        """Some of the objects, without masks."""
        boxes, labels, ignore = (values[rows] for values in (self.boxes, self.labels, self.ignore))
        return replace(self, boxes=boxes, labels=labels, ignore=ignore, mask=None)


@dataclass(frozen=True)
class Prediction:
    """What a detector found in one picture, in the pixels of its file.

    Attributes:
        boxes: (D, 4) xyxy, float32 or float64 (files of others keep their digits).
        labels: (D,) int64, 1…K.
        scores: (D,) float32 or float64 (files of others keep their order), probabilities.
        image_id: the picture's, where known.
        masks: D run-lengths of the picture's size, where the detector makes masks.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    image_id: int | str | None = None
    masks: list[RunLength] | None = None

    def __post_init__(self) -> None:
        _check("boxes", self.boxes, (len(self.boxes), 4), torch.float32, torch.float64)
        _check("labels", self.labels, (len(self.boxes),), torch.int64)
        _check("scores", self.scores, (len(self.boxes),), torch.float32, torch.float64)
        if self.masks is not None and len(self.masks) != len(self.boxes):
            raise ValueError(f"masks must be {len(self.boxes)}, one per box, got {len(self.masks)}")

    def of_rows(self, rows: Tensor) -> "Prediction":
        """Some of what was found, without masks."""
        boxes, labels, scores = (values[rows] for values in (self.boxes, self.labels, self.scores))
        return replace(self, boxes=boxes, labels=labels, scores=scores, masks=None)


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], *dtypes: torch.dtype) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype not in dtypes:
        raise ValueError(f"{name} must be {shape} {dtypes[0]}, got {tuple(tensor.shape)} {tensor.dtype}")


@dataclass(frozen=True)
class Batch:
    """N pictures of one size with their objects, in fixed shapes.

    Attributes:
        images: (N, 3, H, W) uint8 RGB; H and W multiples of 32, zeros below and right of each picture.
        sizes: (N, 2) int64, height and width of the resized picture inside.
        scales: (N, 2) float32, resized over original size, y then x.
        boxes: (N, G, 4) float32 xyxy in resized pixels, zeros where there is no object.
        labels: (N, G) int64, 1…K, 0 where there is no object.
        valid: (N, G) bool, False where there is no object.
        seeds: (N,) int64, for everything drawn at random for a picture.
        ids: N image ids as text.
        masks: (N, G, H, W / 8) uint8 where they were asked for: a bit a pixel, the leftmost of eight the most
            significant (np.packbits).
    """

    images: Tensor
    sizes: Tensor
    scales: Tensor
    boxes: Tensor
    labels: Tensor
    valid: Tensor
    seeds: Tensor
    ids: list[str]
    masks: Tensor | None = None

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        return self._map(lambda tensor: send(tensor, device))

    def pin_memory(self) -> "Batch":
        """Called by DataLoader: from pinned memory `to` copies while the device computes."""
        return self._map(Tensor.pin_memory)

    def with_slots(self, slots: int) -> "Batch":
        """The same batch with room for `slots` objects a picture, at least as many as it has now."""
        fields = ("boxes", "labels", "valid", *([] if self.masks is None else ["masks"]))
        padded: dict[str, Any] = {}
        for name, values in ((name, getattr(self, name)) for name in fields):
            empty = values.new_zeros(len(values), slots - values.shape[1], *values.shape[2:])
            padded[name] = torch.cat([values, empty], dim=1)
        return replace(self, **padded)

    def without_objects(self) -> "Batch":
        """The pictures alone, which is all that detection looks at."""
        boxes, labels, valid = (values[:, :0] for values in (self.boxes, self.labels, self.valid))
        return replace(self, boxes=boxes, labels=labels, valid=valid, masks=None)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        mapped: dict[str, Any] = {n: function(v) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **mapped)
