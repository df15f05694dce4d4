"""The order of the training data, and the worker processes that make its batches."""

import logging
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from foundation.errors import UserError
from training.devices import rank, world_size
from training.progress.progress_bar import watched
from training.seeding import item_seed

logger = logging.getLogger(__name__)
READ_AT_ONCE = 50  # items that a worker is asked for together where nothing is trained on them
GRACE_SECONDS = 10  # that a worker lives on after SIGTERM


class Item(NamedTuple):
    """What a dataset is asked for: an index, and the seed of all randomness spent on it."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks an item for
    seed: int


class TrainSampler:
    """Endless batches for training; iterating yields this process's micro-batches (lists of `Item`).

    The data is the endless concatenation of seeded permutations, one an epoch, cut into micro-batches of
    m = B / (processes · accumulate) items, across epochs where m does not divide the length. Each optimiser
    step takes the next processes · accumulate of them, and process r the r-th contiguous share of these. So
    batch k, that of step k over all processes, is positions [k·B, (k+1)·B). Nothing is dropped or padded;
    resuming needs the step alone.

    With `groups`, items wait in their group, in the order above, until m of them make a micro-batch, and the
    steps take micro-batches as they get full. What is left at the end of an epoch waits for the next one. In
    the long run every item is used once an epoch. Batches then depend on m: what has come by a step differs
    between two values of m by what waits, less than m items of each group.

    Args:
        batch_size: B, over all processes and micro-batches.
        seed: decides the order and every item's seed.
        start_step: the first step to yield batches for.
        groups: the group of each item, for instance by aspect ratio.
    Raises:
        UserError: the dataset is empty or the batch cannot be shared equally.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        start_step: int = 0,
        groups: Sequence[int] | None = None,
    ) -> None:
        if length < 1:
            raise UserError("the training set is empty: expected at least one picture")
        if batch_size < 1 or batch_size % (world_size * accumulate):
            raise UserError(
                f"optim.batch_size {batch_size} cannot be shared equally: expected a multiple of "
                f"{world_size} processes x {accumulate} micro-batches (optim.accumulate)"
            )
        if groups is not None and len(groups) != length:
            raise ValueError(f"groups must name one group for each of {length} items, got {len(groups)}")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start_step, self.groups = start_step, groups
        self._micro_batches = world_size * accumulate  # of a step
        self._own = range(rank * accumulate, (rank + 1) * accumulate)
        self._micro_batch_size = batch_size // self._micro_batches

    def __iter__(self) -> Iterator[list[Item]]:
        batches = self._plain_batches() if self.groups is None else self._grouped_batches(self.groups)
        for number, batch in enumerate(batches):
            if number % self._micro_batches in self._own:
                yield [Item(index, item_seed(self.seed, epoch, index)) for epoch, index in batch]

    def _stream(self, position: int) -> Iterator[tuple[int, int]]:
        """(epoch, index) at each position of the endless concatenation, from `position` on."""
        epoch, offset = divmod(position, self.length)
        while True:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.length)
            for index in order[offset:]:
                yield epoch, int(index)
            epoch, offset = epoch + 1, 0

    def _plain_batches(self) -> Iterator[list[tuple[int, int]]]:
        """All processes' micro-batches from `start_step` on."""
        stream = self._stream(self.start_step * self.batch_size)
        while True:
            yield list(islice(stream, self._micro_batch_size))

    def _grouped_batches(self, groups: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
        # Replays from the beginning: 16 x 90,000 items take under a second, and no state needs saving.
        past = self.start_step * self._micro_batches
        waiting: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for epoch, index in self._stream(0):
            batch = waiting[groups[index]]
            batch.append((epoch, index))
            if len(batch) == self._micro_batch_size:
                del waiting[groups[index]]
                if past == 0:
                    yield batch
                past = max(past - 1, 0)


def evaluation_shard(length: int, rank: int, world_size: int) -> range:
    """This process's contiguous share of an evaluation set, unpadded: in rank order they are the set."""
    return range(length * rank // world_size, length * (rank + 1) // world_size)


def read_once(read: Callable[[int], object], length: int, workers: int, *, what: str) -> None:
    """Reads this process's share of all items: a broken one is better found now than hours into a training.

    Args:
        read: reads an item by its index, and raises a UserError where it is broken.
        what: the items, for messages.
    Raises:
        UserError: the first that is broken, and how many are.
    """
    shard = evaluation_shard(length, rank(), world_size())
    logger.info("reading all %d %s once", length, what)
    items = [Item(index, 0) for index in shard]
    parts = [items[start : start + READ_AT_ONCE] for start in range(0, len(items), READ_AT_ONCE)]
    found = BatchLoader(partial(_problems, read), parts, workers)
    reading = watched(found, len(parts), title=f"reading {what}")
    problems = [problem for part in reading for problem in part]
    if problems:
        raise UserError(
            f"{problems[0]}\n{len(problems)} of {len(items)} {what} cannot be read; mend or remove them"
        )


def _problems(read: Callable[[int], object], items: list[Item]) -> list[str]:
    problems = []
    for item in items:
        try:
            read(item.index)
        except UserError as error:
            problems.append(str(error))
    return problems


Batch = TypeVar("Batch")


class _Reader(Dataset[Batch | UserError]):
    """Makes whole batches inside the workers.

    It returns a UserError in place of the batch: DataLoader's traceback would bury the message of one raised.
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
            # A run on the CPU leaves the GPU alone.
            pin_memory=torch.cuda.is_initialized() or torch.xpu.is_initialized(),
            generator=torch.Generator(),  # else every new iterator would draw from the global one
            worker_init_fn=_outlive_requests_to_stop,
        )

    def __iter__(self) -> Iterator[Batch]:
        try:
            for batch in self._loader:
                if isinstance(batch, UserError):
                    raise batch
                yield batch
        except (ConnectionError, EOFError) as error:  # torch names a dead worker only between two batches
            raise RuntimeError(f"DataLoader worker ended while it gave a batch: {error}") from error


def _outlive_requests_to_stop(worker: int) -> None:
    """Ctrl-C and SIGTERM may reach every process, but the step at hand still needs its batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_SECONDS))
