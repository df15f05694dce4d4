"""The time that is left, with a clock that the test turns."""

import pytest

from training.config import RunConfig
from training.progress.remaining_time import RemainingTime, due, seconds_each


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def remaining(total: int, clock: Clock, *, step: int = 0, guess: float = 0.0, **run: int) -> RemainingTime:
    options = {"eval_every": 1000, "checkpoint_every": 1000} | run
    return RemainingTime(RunConfig(**options), total, step, evaluation_guess=guess, clock=clock)


def take(time: RemainingTime, clock: Clock, seconds: float, steps: int = 1) -> None:
    clock.now += seconds
    time.steps_done(steps)


def test_nothing_is_known_before_the_first_step():
    time = remaining(10, Clock())
    assert time.seconds_left() is None and time.seconds_per_step is None


def test_steps_without_pauses():
    clock = Clock()
    time = remaining(10, clock)
    take(time, clock, 2.0)
    assert time.seconds_left() == 9 * 2.0
    take(time, clock, 1.0)  # the slow first step is left out from now on
    assert time.seconds_left() == 8 * 1.0
    take(time, clock, 3.0, steps=3)
    assert time.seconds_left() == pytest.approx(5 * 1.0)
    assert (time.step, time.step_seconds) == (5, 6.0)


def test_late_steps_count_more():
    clock = Clock()
    time = remaining(1000, clock)
    for seconds in [9.0] * 5 + [1.0] * 95:
        take(time, clock, seconds)
    assert time.seconds_per_step == pytest.approx(1, rel=0.1)  # the mean of all is 1.4


def test_evaluations_and_checkpoints_still_to_come():
    clock = Clock()
    time = remaining(120, clock, eval_every=40, checkpoint_every=60)
    truth = 120 * 1.0 + 3 * 10.0 + 4 * 2.0  # checkpoints at 40, 60, 80, 120
    for _ in range(40):
        take(time, clock, 1.0)
    with time.pause("checkpoint"):
        clock.now += 2
    with time.pause("evaluation"):
        clock.now += 7
        with time.pause("checkpoint"):  # that of an evaluation counts there
            clock.now += 3
    assert time.elapsed == 40 + 2 + 10
    assert time.seconds_left() == pytest.approx(truth - time.elapsed)
    take(time, clock, 1.0)
    assert time.seconds_per_step == pytest.approx(1)  # no pause in it
    assert time.seconds_left() == pytest.approx(truth - time.elapsed)


def test_a_due_evaluation_that_has_not_begun_counts():
    clock = Clock()
    time = remaining(4, clock, eval_every=2, guess=10.0)
    take(time, clock, 1.0)
    take(time, clock, 1.0)
    assert time.seconds_left() == 2 * 1.0 + 2 * 10.0


def test_within_a_fifth_after_the_first_tenth():
    # A slow start, steps that differ by a quarter, evaluations that take as long as all steps, badly guessed.
    clock = Clock()
    time = remaining(200, clock, eval_every=20, checkpoint_every=50, guess=14.0)
    left = []
    for step in range(1, 201):
        take(time, clock, 30.0 if step == 1 else (0.75, 1.0, 1.25)[step % 3])
        left.append((step, clock.now, time.seconds_left()))
        for n, kind, seconds in ((20, "evaluation", 20.0), (50, "checkpoint", 3.0)):
            if step % n == 0:
                with time.pause(kind):
                    clock.now += seconds
    for step, now, said in left[20:180]:
        assert said == pytest.approx(clock.now - now, rel=0.2), step


def test_a_continued_run_knows_what_is_behind_it():
    clock = Clock()
    time = remaining(100, clock, step=60, eval_every=30, guess=5.0)
    take(time, clock, 1.0)
    assert time.seconds_left() == 39 * 1.0 + 2 * 5.0  # at 90 and at the end


@pytest.mark.parametrize(
    ("intervals", "after", "last", "count"),
    [
        ((4,), 0, 12, 3),
        ((4,), 4, 12, 2),
        ((5,), 0, 12, 3),  # 5, 10 and the last
        ((5,), 12, 12, 0),
        ((4, 6), 0, 12, 4),  # 4, 6, 8, 12
        ((4, 6), 0, 13, 5),
        ((100,), 0, 12, 1),
    ],
)
def test_how_many_are_due(intervals: tuple[int, ...], after: int, last: int, count: int):
    assert due(intervals, after, last) == count
    slow = [s for s in range(after + 1, last + 1) if s == last or any(s % n == 0 for n in intervals)]
    assert len(slow) == count


@pytest.mark.parametrize(("workers", "seconds"), [(0, 0.5 + 2.0), (1, 2.0), (2, 2.0)])
def test_what_an_item_costs(workers: int, seconds: float):
    clock = Clock()

    def items():
        for reading in (9.0, 0.5, 0.5):
            clock.now += reading
            yield reading

    def use(item: float) -> None:
        clock.now += 20.0 if item == 9.0 else 2.0

    assert seconds_each(items(), use, workers=workers, clock=clock) == seconds


def test_readers_that_are_slower_than_the_network():
    clock = Clock()

    def items():
        clock.now += 8.0
        yield 1

    assert seconds_each(items(), lambda item: None, workers=2, clock=clock) == 4.0
    assert seconds_each([], lambda item: None, workers=0) == 0.0
