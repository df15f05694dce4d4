"""Two ways of doing the same, timed in turn in one process: the rounds of each and their ratios."""

import statistics
import time
from dataclasses import dataclass

import torch

from benchmarks.backbone_speed import Call

LEAST_ROUNDS, MOST_ROUNDS = 3, 15
REST = 0.05  # seconds; threads of ONNX Runtime and OpenMP go on spinning for a while after a call
HEADING = ["what", "ours, ms", "peer, ms", "peer / ours (lowest–highest)", "rounds"]


@dataclass(frozen=True)
class Timing:
    """One row of a table: the seconds of every round, (R,) of ours and (R,) of the peer."""

    name: str
    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """Of each round, peer over ours: above 1 we are faster."""
        return [theirs / mine for mine, theirs in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    def cells(self) -> list[str]:
        """A row of the table: medians in milliseconds, the ratio with the lowest and highest of a round."""
        times = [1e3 * statistics.median(side) for side in (self.ours, self.peer)]
        low, high = min(self.ratios), max(self.ratios)
        ratio = f"{self.ratio:.2f} ({low:.2f}–{high:.2f})"
        return [
            self.name,
            *(f"{t:.0f}" if t >= 100 else f"{t:.1f}" for t in times),
            ratio,
            str(len(self.ours)),
        ]


def compare(name: str, ours: Call, peer: Call, seconds: float) -> Timing:
    """Calls both once to warm up, then in turn, beginning with the other side in every second round.

    Args:
        seconds: rounds begin until so many have passed; `LEAST_ROUNDS` to `MOST_ROUNDS` in any case.
    """
    ours(), peer()
    begun, mine, theirs = time.perf_counter(), list[float](), list[float]()
    while len(mine) < LEAST_ROUNDS or (len(mine) < MOST_ROUNDS and time.perf_counter() - begun < seconds):
        sides = [(mine, ours), (theirs, peer)]
        for times, call in sides if len(mine) % 2 == 0 else reversed(sides):
            times.append(seconds_of(call))
    return Timing(name, tuple(mine), tuple(theirs))


def seconds_of(call: Call) -> float:
    """What a call takes, to a microsecond, with all work of a GPU that it began; it begins after a rest."""
    time.sleep(REST)
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return round(time.perf_counter() - start, 6)
