"""Batches of labelled pictures, and the loaders that bring them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from backbones.spec import InputSpec
from engine.batches import BatchLoader
from engine.config import OptimConfig, RunConfig
from engine.distributed import rank, world_size
from engine.sampler import Item, TrainSampler, evaluation_shard


@dataclass(frozen=True)
class Batch:
    """Pictures of one micro-batch as read, and what is known of them.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        labels: (N,) int64, 0 … K−1.
        seeds: (N,) int64, the items' seeds: the only source of randomness in augmentation.
        ids: N names for messages: file path, or split and index.
    """

    images: Tensor
    labels: Tensor
    seeds: Tensor
    ids: list[str]

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device, copied without waiting where the memory is pinned."""
        images, labels, seeds = (
            x.to(device, non_blocking=True) for x in (self.images, self.labels, self.seeds)
        )
        return Batch(images, labels, seeds, self.ids)

    def pin_memory(self) -> "Batch":
        """Called by DataLoader: makes copies to a GPU asynchronous."""
        return Batch(self.images.pin_memory(), self.labels.pin_memory(), self.seeds.pin_memory(), self.ids)


class Pictures(Protocol):
    """A split of labelled pictures, as every data set here offers it."""

    classes: list[str]
    input_spec: InputSpec

    def __len__(self) -> int: ...

    def read(self, items: Sequence[Item]) -> Batch:
        """The batch of these items."""

    def adopt(self, spec: InputSpec) -> None:
        """Lets `prepare` give what a network with this specification was trained on.

        Raises:
            UserError: that cannot be had from these pictures.
        """

    def prepare(self, batch: Batch) -> Tensor:
        """(N, 3, H, W) float32 as the network wants them, on the batch's device."""


def training_batches(
    pictures: Pictures, optim: OptimConfig, run: RunConfig, start_step: int
) -> BatchLoader[Batch]:
    """This process's endless micro-batches from optimiser step `start_step` on."""
    sampler = TrainSampler(
        len(pictures),
        optim.batch_size,
        seed=run.seed,
        rank=rank(),
        world_size=world_size(),
        accumulate=optim.accumulate,
        start_step=start_step,
    )
    return BatchLoader(pictures.read, sampler, run.workers)


def evaluation_batches(pictures: Pictures, batch_size: int, workers: int) -> BatchLoader[Batch]:
    """This process's share of all pictures, each exactly once over all processes."""
    shard = evaluation_shard(len(pictures), rank(), world_size())
    starts = range(shard.start, shard.stop, batch_size)
    batches = [[Item(i, 0) for i in range(start, min(start + batch_size, shard.stop))] for start in starts]
    return BatchLoader(pictures.read, batches, workers)
