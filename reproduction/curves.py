"""Learning curves of runs, read from their metrics.jsonl."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from classification.config import PretrainConfig
from classification.data.cifar10 import SPLITS
from pictures.run_pictures.run_curves import read_metrics

IMAGENET_PICTURES = 1_281_167
POINTS = 40  # windows that a training curve is cut into, at least


class Point(NamedTuple):
    """An error in per cent at a step."""

    step: float
    error: float


@dataclass(frozen=True)
class Curves:
    """What a run reported."""

    # Steps done, and the mean training error since the report before; empty in runs of earlier releases.
    reports: list[Point]
    test: list[Point]  # the evaluations

    def training(self, window: float) -> list[Point]:
        """Means of the training error over windows of at least this many steps, at the windows' middles."""
        points, start, last, total = [], 0.0, 0.0, 0.0
        for step, error in self.reports:
            total += (step - last) * error
            last = step
            if step - start >= window:
                points.append(Point((start + step) / 2, total / (step - start)))
                start, total = step, 0.0
        return points

    def final_training_error(self, window: float) -> float | None:
        """The mean over the reports of the last `window` steps, whole ones; None where none were made."""
        if not self.reports:
            return None
        end, _ = self.reports[-1]
        pairs = zip([Point(0.0, 0.0), *self.reports], self.reports, strict=False)
        spans = [(start, step, error) for (start, _), (step, error) in pairs]
        kept = [(step - start, error) for start, step, error in spans if end - start <= window or step == end]
        return sum(steps * error for steps, error in kept) / sum(steps for steps, _ in kept)


def read_curves(file: Path) -> Curves:
    """The curves of a pretraining run's metrics.jsonl."""
    entries = read_metrics(file)
    reports, test = (
        [Point(entry["step"], entry[name]) for entry in entries if name in entry]
        for name in ("top1_error", "val/top1_error")
    )
    return Curves(reports, test)


def training_pictures(config: PretrainConfig) -> int | None:
    """How many pictures the training split has; None where that is not known without the data."""
    data = config.data
    if data.kind == "cifar10" and data.train_split in SPLITS:
        taken = SPLITS[data.train_split][1]
        return taken.stop - taken.start
    if data.kind == "folder" and data.root is None:
        return IMAGENET_PICTURES
    return None


def epoch_steps(config: PretrainConfig) -> float | None:
    """Steps that take as many pictures as the training split has; None where its size is not known."""
    pictures = training_pictures(config)
    return None if pictures is None else pictures / config.optim.batch_size


def window_steps(config: PretrainConfig) -> float:
    """Over how many steps a training curve is averaged: an epoch, in a short run a fortieth of it."""
    return min(epoch_steps(config) or config.run.eval_every, config.schedule.total_steps / POINTS)
