"""Batches made by worker processes, with the user's errors among them passed on as they are."""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from foundation.errors import UserError
from training.sampler import Item

Batch = TypeVar("Batch")


class _Reader(Dataset[Batch | UserError]):
    """Makes whole batches inside the workers.

    A UserError is returned in place of the batch: one raised in a worker reaches the main process with its
    message buried in DataLoader's traceback.
    """

    def __init__(self, read: Callable[[list[Item]], Batch]) -> None:
        self.read = read

    def __getitem__(self, items: list[Item]) -> Batch | UserError:
        try:
            return self.read(items)
        except UserError as error:
            return error


class BatchLoader(Generic[Batch]):
    """Iterates over batches made by `workers` processes (0: by this one), in order.

    Args:
        read: makes a batch of these items; pickled where workers are not forked.
        batches: the items of each batch.
    Raises:
        UserError: on iterating, where `read` raised it.
    """

    def __init__(
        self, read: Callable[[list[Item]], Batch], batches: Iterable[list[Item]], workers: int
    ) -> None:
        self._loader = DataLoader(
            _Reader(read),
            batch_size=None,  # the sampler's entries are whole batches
            sampler=batches,
            num_workers=workers,
            pin_memory=torch.cuda.is_initialized(),  # a run on the CPU leaves the GPU alone
            generator=torch.Generator(),  # else every new iterator would draw from the global one
        )

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch
