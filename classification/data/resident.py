"""CIFAR-10 where the network is: all pictures on the device, and batches that are tables of numbers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from classification.data.labelled_batches import Batch
from training.loader import Item


class InMemory(Protocol):
    """What can be made resident: images (N, 3, H, W) uint8, labels (N,) int64, and a name."""

    images: Tensor
    labels: Tensor
    split: str


class Resident:
    """Serves the batches of a data set in memory from its copy on a device.

    The same pictures, seeds and arithmetic as through `classification.data.labelled_batches`, without a loader between.

    Args:
        pictures: a split in memory.
    """

    def __init__(self, pictures: InMemory, device: torch.device) -> None:
        self.split = pictures.split
        self.images, self.labels = pictures.images.to(device), pictures.labels.to(device)

    def draws(self, batches: Iterable[list[Item]]) -> Iterator["Draw"]:
        """What the sampler's batches mean, to be gathered on the device when used."""
        for items in batches:
            yield Draw(self, torch.tensor(items, dtype=torch.int64).T)


@dataclass(frozen=True)
class Draw:
    """A micro-batch still to be gathered.

    Attributes:
        table: (2, N) int64: index and seed of each picture.
    """

    source: Resident
    table: Tensor

    @property
    def ids(self) -> list[str]:
        """As those of `Cifar10.read`."""
        return [f"{self.source.split}/{index}" for index in self.table[0].tolist()]

    def to(self, device: torch.device) -> Batch:
        """The batch, gathered on the device; its ids are left out, for they would have to be copied back."""
        indices, seeds = self.table.to(device, non_blocking=True)
        return Batch(self.source.images[indices], self.source.labels[indices], seeds, [])
