"""Batches of labelled pictures, and the loaders that bring them."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from backbones.spec import InputSpec
from training.config import RunConfig
from training.devices import rank, send, world_size
from training.loader import BatchLoader, Item, TrainSampler, evaluation_shard
from training.optim import OptimConfig
from training.progress.progress_bar import watched

logger = logging.getLogger(__name__)

SCORED_AT_ONCE = 100  # pictures, in training as after it; the scores depend on it by rounding alone


@dataclass(frozen=True)
class Batch:
    """Pictures of one micro-batch as read, and what is known of them.

    Attributes:
        images: (N, 3, H, W) uint8 RGB.
        labels: (N,) int64, 0 … K−1.
        seeds: (N,) int64, the items' seeds: the only source of randomness in augmentation.
        ids: N names for messages: file path, or split and index.
        skipped: what is wrong with each broken picture that another stands in for.
    """

    images: Tensor
    labels: Tensor
    seeds: Tensor
    ids: list[str]
    skipped: list[str] = field(default_factory=list)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device, copied without waiting where the memory is pinned."""
        return self._with(lambda tensor: send(tensor, device))

    def pin_memory(self) -> "Batch":
        """Called by DataLoader: makes copies to a GPU asynchronous."""
        return self._with(Tensor.pin_memory)

    def _with(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(self, images=move(self.images), labels=move(self.labels), seeds=move(self.seeds))


class Pictures(Protocol):
    """A split of labelled pictures, as every data set here offers it."""

    classes: list[str]
    labels: Tensor  # (N,) int64, 0 … K−1, −1 where it is unknown
    input_spec: InputSpec

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What messages call a picture."""

    def read(self, items: Sequence[Item]) -> Batch:
        """The batch of these items."""

    def adopt(self, spec: InputSpec) -> None:
        """Lets `prepare` give what a network of this specification was trained on, or raises a UserError."""

    def prepare(self, batch: Batch) -> Tensor:
        """(N, 3, H, W) float32 as the network wants them, on the batch's device."""


def fingerprint(pictures: Pictures) -> str:
    """A digest of the pictures' names and labels; the folder that all names begin with may be another."""
    names = [pictures.name(index) for index in range(len(pictures))]
    begin = len(os.path.commonprefix(names))
    digest = hashlib.sha256("\n".join(name[begin:] for name in names).encode(errors="surrogateescape"))
    digest.update(pictures.labels.numpy().tobytes())
    return digest.hexdigest()[:16]


def mean_spec(mean: Tensor) -> InputSpec:
    """What an InputSpec can say of a subtracted mean (3, H, W): its channel means, and deviations of 1."""
    red, green, blue = mean.double().mean(dim=(1, 2)).tolist()
    return InputSpec(mean=(red, green, blue), std=(1.0, 1.0, 1.0), order="RGB", range=1.0)


def normalised(images: Tensor, spec: InputSpec, mean: Tensor | None) -> Tensor:
    """Pictures (N, 3, H, W) uint8 as a network wants them: float32, on the device they are on.

    A mean picture (3, H, W) in 0–1, on that device, is subtracted; where there is none of their size, the
    channel means are, and the deviations divide.
    """
    if mean is None or mean.shape[1:] != images.shape[2:]:
        return spec.normalise(images)
    return images.float() / 255 - mean


def training_batches(pictures: Pictures, optim: OptimConfig, run: RunConfig, step: int) -> Iterator[Batch]:
    """This process's endless micro-batches from this optimiser step on.

    Each broken picture that was left out is logged once, and their number at the end.
    """
    items = training_items(len(pictures), optim, run, step)
    times: Counter[str] = Counter()
    try:
        for batch in BatchLoader(pictures.read, items, run.workers):
            for problem in batch.skipped:
                times[problem] += 1
                if times[problem] == 1:
                    logger.warning("left out of training, number %d: %s", len(times), problem)
            yield batch
    finally:
        if times:
            logger.warning("%d broken pictures were left out, %d times in all", len(times), times.total())


def training_items(length: int, optim: OptimConfig, run: RunConfig, step: int) -> TrainSampler:
    """What those batches hold, for a set of `length` pictures."""
    return TrainSampler(
        length,
        optim.batch_size,
        seed=run.seed,
        rank=rank(),
        world_size=world_size(),
        accumulate=optim.accumulate,
        start_step=step,
    )


@dataclass(frozen=True)
class PicturesOnDevice:
    """Pictures on a device, where the batches of `training_batches` are gathered without a loader."""

    images: Tensor  # (N, 3, H, W) uint8 RGB
    labels: Tensor  # (N,) int64
    split: str  # its name, for messages

    def drawn(self, batches: Iterable[list[Item]]) -> Iterator["DrawnBatch"]:
        """What the sampler's batches mean, to be gathered on the device when used."""
        for items in batches:
            yield DrawnBatch(self, torch.tensor(items, dtype=torch.int64).T)


@dataclass(frozen=True)
class DrawnBatch:
    """A micro-batch still to be gathered."""

    source: PicturesOnDevice
    table: Tensor  # (2, N) int64: index and seed of each picture

    @property
    def ids(self) -> list[str]:
        """As those of `Cifar10.read`."""
        return [f"{self.source.split}/{index}" for index in self.table[0].tolist()]

    def to(self, device: torch.device) -> Batch:
        """The batch, gathered on the device; its ids are left out, for they would have to be copied back."""
        indices, seeds = send(self.table, device)
        return Batch(self.source.images[indices], self.source.labels[indices], seeds, [])


def evaluation_batches(pictures: Pictures, batch_size: int, workers: int) -> Iterable[Batch]:
    """This process's share of all pictures, each once over all processes, with a bar on a terminal."""
    items = evaluation_items(len(pictures), batch_size)
    return watched(BatchLoader(pictures.read, items, workers), len(items), title="evaluation")


def evaluation_items(length: int, batch_size: int) -> list[list[Item]]:
    """This process's share of all batches of a set; in rank order they are the set.

    Batches stay whole, since a picture's score depends, by rounding, on the pictures beside it. So any number
    of processes gives the very same scores.
    """
    items = [Item(index, 0) for index in range(length)]
    batches = [items[start : start + batch_size] for start in range(0, length, batch_size)]
    shard = evaluation_shard(len(batches), rank(), world_size())
    return batches[shard.start : shard.stop]
