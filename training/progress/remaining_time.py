"""How long a training will still take, from the pace of its steps and from what comes between them."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

from training.config import RunConfig

Item = TypeVar("Item")
Pause = Literal["evaluation", "checkpoint"]

FORGETS_AFTER = 5  # steps at least; from 20 on a quarter of the steps that were timed


class RemainingTime:
    """The clock of a training: time spent in steps, time spent between them, and what is left of both.

    The pace of the steps is a mean in which old steps count less and less, because a training's first steps
    are slow: workers start, kernels are chosen or compiled. The very first is left out once there are others.

    Args:
        run: says when evaluations and checkpoints are due.
        total_steps: of the whole training.
        step: that it begins with.
        evaluation_guess: seconds of an evaluation, until the first has been timed.
        clock: gives seconds.
    """

    def __init__(
        self,
        run: RunConfig,
        total_steps: int,
        step: int,
        *,
        evaluation_guess: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.run, self.total_steps, self.step = run, total_steps, step
        self.evaluation_guess, self.clock = evaluation_guess, clock
        self.step_seconds = 0.0  # spent in all steps so far
        self._begun = self._last = clock()
        self._calls = self._timed = 0
        self._seconds = self._steps = 0.0  # of the mean, the older the less
        self._pauses: dict[Pause, list[float]] = defaultdict(list)
        self._after: dict[Pause, int] = {"evaluation": step, "checkpoint": step}
        self._pausing = False

    @property
    def elapsed(self) -> float:
        """Seconds since the start, pauses included."""
        return self.clock() - self._begun

    @property
    def seconds_per_step(self) -> float | None:
        """The pace of late; None before the first step."""
        return self._seconds / self._steps if self._steps else None

    def steps_done(self, steps: int) -> None:
        """Notes that so many steps have ended just now."""
        now = self.clock()
        seconds, self._last = now - self._last, now
        self.step, self.step_seconds = self.step + steps, self.step_seconds + seconds
        self._calls += 1
        if self._calls == 2:
            self._seconds = self._steps = 0.0
        self._timed += steps
        kept = 0.5 ** (steps / max(FORGETS_AFTER, self._timed / 4))
        self._seconds, self._steps = kept * self._seconds + seconds, kept * self._steps + steps

    @contextmanager
    def pause(self, kind: Pause) -> Iterator[None]:
        """Times a block between steps; within another such block it is a part of that."""
        if self._pausing:
            yield
            return
        begun, self._pausing = self.clock(), True
        try:
            yield
        finally:
            self._pausing = False
            seconds = self.clock() - begun
            self._last += seconds
            self._pauses[kind].append(seconds)
            self._after[kind] = self.step

    def seconds_left(self) -> float | None:
        """Until the end of the training, if it takes all its steps; None before the first."""
        pace = self.seconds_per_step
        if pace is None:
            return None
        left = (self.total_steps - self.step) * pace
        saved = self.run.eval_every, self.run.checkpoint_every
        left += self._each("checkpoint", 0.0) * due(saved, self._after["checkpoint"], self.total_steps)
        evaluations = due((self.run.eval_every,), self._after["evaluation"], self.total_steps)
        return left + self._each("evaluation", self.evaluation_guess) * evaluations

    def _each(self, kind: Pause, guess: float) -> float:
        """Seconds of one such pause: the mean of those so far, or the guess."""
        times = self._pauses[kind]
        return sum(times) / len(times) if times else guess


def due(intervals: tuple[int, ...], after: int, last: int) -> int:
    """How many steps after one, up to the last, are the last or a multiple of one or two intervals."""
    if after >= last:
        return 0
    multiples = [last // n - after // n for n in (*intervals, math.lcm(*intervals))]
    count = multiples[0] if len(intervals) == 1 else multiples[0] + multiples[1] - multiples[2]
    return count + all(last % n for n in intervals)


def seconds_each(
    items: Iterable[Item],
    use: Callable[[Item], object],
    *,
    workers: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """What an item costs, from a few of which the first is not counted if there are others.

    Args:
        items: read by this process while they are iterated over.
        use: what is done with each; returns when it is done.
        workers: processes that will read the items while others are used; with 0 this one reads them.
    """
    reading, using, begun = [], [], clock()
    for item in items:
        read = clock()
        use(item)
        reading.append(read - begun)
        begun = clock()
        using.append(begun - read)
    count = len(using[1:] or using)
    if count == 0:
        return 0.0
    reads, uses = sum(reading[-count:]) / count, sum(using[-count:]) / count
    return max(reads / workers, uses) if workers else reads + uses
