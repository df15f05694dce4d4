"""The figures of a training between two steps, as a line of the log and beside the bar."""

import math
import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import torch

STATM = Path("/proc/self/statm")  # of Linux: sizes in pages, the second is what lies in memory


@dataclass(frozen=True)
class StepFigures:
    """Where a training is, and how it goes.

    Attributes:
        epoch: passes over the training set; None where its size is not known.
        losses: terms by name, those that change no weight included.
        loss_names: which of them are summed to what is minimised.
        speed: pictures per second; None before the first step.
        seconds_left: see `RemainingTime.seconds_left`.
        memory: what of which memory, see `describe_memory`.
    """

    step: int
    total_steps: int
    epoch: float | None
    losses: dict[str, float]
    loss_names: frozenset[str]
    lr: float
    speed: float | None
    seconds_left: float | None
    memory: str

    @property
    def place(self) -> str:
        """The step of how many."""
        return f"step {self.step}/{self.total_steps}"

    @property
    def terms(self) -> list[str]:
        """Every loss with its name, behind their sum if it has several parts."""
        parts = [value for name, value in self.losses.items() if name in self.loss_names]
        total = [f"{'sum' if 'loss' in self.losses else 'loss'} {sum(parts):.4f}"] if len(parts) > 1 else []
        return [*total, *(f"{name} {value:.4f}" for name, value in self.losses.items())]

    def line(self) -> str:
        """All of it, for the log."""
        course = [*self._speed, *self._left, self.memory]
        parts = [self.place, *self._epoch, *self.terms, f"lr {self.lr:.5g}", *course]
        return "  ".join(filter(None, parts))

    def beside_bar(self, columns: int) -> str:
        """As much of it as fits into so many columns, the most telling first; no figure is cut."""
        first, *others = self.terms or [""]
        course = [*self._left, *self._speed, self.memory]
        parts = [self.place, first, *course, *self._epoch, *others, f"lr {self.lr:.5g}"]
        shown = ""
        for part in filter(None, parts):
            longer = f"{shown}  {part}" if shown else part
            if len(longer) <= columns:
                shown = longer
        return shown

    @property
    def _epoch(self) -> list[str]:
        return [] if self.epoch is None else [f"epoch {self.epoch:.2f}"]

    @property
    def _speed(self) -> list[str]:
        return [] if self.speed is None else [f"{three_digits(self.speed)} pictures/s"]

    @property
    def _left(self) -> list[str]:
        return [] if self.seconds_left is None else [f"ETA {describe_seconds(self.seconds_left)}"]


def three_digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.3g}"
    rounded = float(f"{value:.3g}")
    return f"{rounded:.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def describe_seconds(seconds: float) -> str:
    """Whole seconds as h:mm:ss, behind days where there are some."""
    return str(timedelta(seconds=round(seconds)))


def memory_in_use(device: torch.device) -> tuple[str, int | None]:
    """The most of a GPU's memory that tensors took so far; elsewhere what the process holds of the host's.

    Returns:
        "GPU" or "RAM", and bytes; None where the system does not say.
    """
    if device.type in ("cuda", "xpu"):
        return "GPU", getattr(torch, device.type).max_memory_allocated(device)
    return "RAM", resident_bytes()


def describe_memory(device: torch.device) -> str:
    """`memory_in_use` for people; nothing where the system does not say."""
    name, size = memory_in_use(device)
    return "" if size is None else f"{name} {three_digits(size / 1e9)} GB"


def resident_bytes() -> int | None:
    """What of this process lies in memory now, or else the most that did so far; None on Windows."""
    if STATM.is_file():
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if find_spec("resource") is None:
        return None
    import resource

    # Linux and the BSDs count in kilobytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
