"""Rounds in turn, their medians and spread. No clock decides here."""

from collections.abc import Iterator

import pytest

from benchmarks.measuring import row_timing
from benchmarks.measuring.row_timing import LEAST_ROUNDS, MOST_ROUNDS, Timing, compare


def test_a_row_by_hand():
    # Ratios 4/2 = 2, 3/1 = 3 and 4/4 = 1: the median is 2, between 1 and 3. Medians of seconds: 2 and 4.
    timing = Timing("x", (2.0, 1.0, 4.0), (4.0, 3.0, 4.0))
    assert timing.ratios == [2, 3, 1]
    assert timing.cells() == ["x", "2000", "4000", "2.00 (1.00–3.00)", "3"]
    assert Timing("x", (0.0104,), (0.5,)).cells()[1:3] == ["10.4", "500"]


def test_rounds_in_turn_beginning_with_either_side(monkeypatch: pytest.MonkeyPatch):
    durations: Iterator[float] = iter([1.0, 3.0, 4.0, 2.0, 5.0, 6.0])
    calls = list[str]()
    monkeypatch.setattr(row_timing, "seconds_of", lambda call: (call(), next(durations))[1])
    timing = compare("x", lambda: calls.append("ours"), lambda: calls.append("peer"), seconds=0)
    assert calls == ["ours", "peer", *("ours", "peer"), *("peer", "ours"), *("ours", "peer")]  # two warm up
    assert timing == Timing("x", ours=(1, 2, 5), peer=(3, 4, 6))


@pytest.mark.parametrize(
    ("pair", "rounds"), [(100.0, LEAST_ROUNDS), (2.0, 5), (0.1, MOST_ROUNDS)], ids=["slow", "usual", "fast"]
)
def test_rounds_until_the_seconds_are_used(monkeypatch: pytest.MonkeyPatch, pair: float, rounds: int):
    now = 0.0

    def call() -> None:
        nonlocal now
        now += pair / 2

    monkeypatch.setattr(row_timing.time, "perf_counter", lambda: now)
    assert len(compare("x", call, call, seconds=9).ours) == rounds
