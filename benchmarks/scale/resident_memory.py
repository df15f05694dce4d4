"""Memory of long trainings and evaluations: what stays in it must not grow with what was done."""

import gc
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.scale.small_runs import TINY, SmallRun, answer, small_run, start
from detection.predictor import predict_dataset
from detection.types import Batch
from reproduction.tables import markdown_table
from training.command import say
from training.loop import TrainState, fit

STEPS = (200, 1000, 2000)
PREDICTIONS = (1000, 5000, 10_000)
PARTS = {"training steps": STEPS, "predictions": PREDICTIONS}
_STATUS = Path("/proc/self/status")


def memory_table(folder: Path) -> str:
    """A tiny detector, trained with one picture a step, and looking at one picture at a time."""
    module = "benchmarks.scale.resident_memory"
    started = [start(module, str(folder), part, ",".join(map(str, PARTS[part]))) for part in PARTS]
    rows = []
    for (part, marks), process in zip(PARTS.items(), started, strict=True):
        found = answer(process)
        after = ", ".join(f"{mark:,}" for mark in marks)
        cells = ", ".join(f"{megabytes:.1f}" for megabytes in found)
        rows.append([f"{part}: after {after}", cells, f"{found[-1] - found[0]:+.1f}"])
    return markdown_table(["what", "resident, MB", "from first to last, MB"], rows)


def resident() -> float:
    """MB of this process in memory that no file is behind; Linux alone says.

    Files, such as libraries, come page by page as their code is first used.
    """
    gc.collect()
    (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024 / 1e6


def after_steps(run: SmallRun, marks: Sequence[int]) -> list[float]:
    """What is resident after so many steps, ascending, of the loop that trains."""
    found: dict[int, float] = {}

    def note(state: TrainState) -> None:
        if state.step in marks:
            found[state.step] = resident()

    fit(run.state, run.batches, run.step, marks[-1], [(1, note)])
    return [found[mark] for mark in marks]


def after_predictions(run: SmallRun, marks: Sequence[int]) -> list[float]:
    """What is resident after so many predictions, multiples of the pictures that are there."""
    return after_calls(
        lambda: predict_dataset(run.model, run.validation, run.config.data, run.config.run),
        [mark // len(run.validation) for mark in marks],
    )


def after_calls(call: Callable[[], object], marks: Sequence[int]) -> list[float]:
    """What is resident after so many calls, ascending."""
    found = []
    for number in range(1, marks[-1] + 1):
        call()
        if number in marks:
            found.append(resident())
    return found


def after_keeping_steps(run: SmallRun, marks: Sequence[int]) -> list[float]:
    """As `after_steps` of a training that keeps every batch: what a leak looks like."""
    kept: list[Batch] = []

    def keeping(batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            kept.append(replace(batch, images=batch.images.float()))
            yield batch

    return after_steps(run._replace(batches=keeping(run.batches)), marks)


MEASURES = {
    "training steps": after_steps,
    "keeping training steps": after_keeping_steps,
    "predictions": after_predictions,
}

if __name__ == "__main__":
    place, what, numbers = sys.argv[1:]
    small = small_run(Path(place), 1, *TINY)
    say(json.dumps(MEASURES[what](small, list(map(int, numbers.split(","))))))
