"""What flows through semantic segmentation: label maps, batches of them, and the data sets they come from.

A label map has one class a pixel: 0…K−1 in the order of the data set's `classes`, where the background is the
first class if there is one, or `IGNORED`, whose pixels count neither in a loss nor in a figure.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.devices import send

IGNORED = 255  # VOC's void, and what most sets after it use


@dataclass(frozen=True)
class Batch:
    """N pictures of one size with their label maps.

    Attributes:
        images: (N, 3, H, W) uint8 RGB; zeros below and right of each picture.
        labels: (N, H, W) uint8, 0…K−1 or `IGNORED`, as below and right of each picture.
        sizes: (N, 2) int64, height and width of the picture inside.
        seeds: (N,) int64, for everything drawn at random for a picture.
        ids: N image ids as text.
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor
    seeds: Tensor
    ids: list[str]

    def __post_init__(self) -> None:
        number, _, height, width = self.images.shape
        _check("images", self.images, (number, 3, height, width), torch.uint8)
        _check("labels", self.labels, (number, height, width), torch.uint8)
        _check("sizes", self.sizes, (number, 2), torch.int64)
        _check("seeds", self.seeds, (number,), torch.int64)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device, copied without waiting where the memory is pinned."""
        return self._map(lambda tensor: send(tensor, device))

    def pin_memory(self) -> "Batch":
        """Called by DataLoader: from pinned memory `to` copies while the device computes."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        mapped: dict[str, Any] = {n: function(v) for n, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **mapped)


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        raise ValueError(f"{name} must be {shape} {dtype}, got {tuple(tensor.shape)} {tensor.dtype}")


class SegmentationDataset(Protocol):
    """What training, evaluation and prediction ask of a data set.

    `classes` are K names in the order of the labels, the background first where the set has one. `has_truth`
    is False where nobody but an evaluation server knows the label maps.
    """

    classes: list[str]
    has_truth: bool

    def __len__(self) -> int: ...

    def image_path(self, index: int) -> Path: ...

    def image_id(self, index: int) -> str:
        """What messages and files of predictions call a picture."""

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of the picture's file."""

    def load_labels(self, index: int) -> NDArray[np.uint8]:
        """The label map (height, width) of the picture's size; UserError where it cannot be used."""

    def fingerprint(self) -> str:
        """A digest of the pictures' names and their label maps: a run only goes on with equal ones."""
