"""What a picture costs in training and evaluation with more and more processes, each on one thread."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.scale.small_runs import answer, small_run, start
from detection.predictor import predict_dataset
from reproduction.tables import markdown_table
from training.command import say
from training.devices import gather_objects, is_main, process_group, world_size

COUNTS = (1, 2, 4)
BATCH = 4  # pictures of a step for each process
STEPS, ROUNDS = 4, 3


def process_table(folder: Path, counts: tuple[int, ...] = COUNTS) -> str:
    """Medians of `ROUNDS`; the efficiency is of as many times one process as the machine has cores for."""
    module = "benchmarks.scale.process_speed"
    found = [answer(start(module, str(folder), processes=count)) for count in counts]
    cores = usable_cores()
    rows = []
    for count, one in zip(counts, found, strict=True):
        cells = [str(count)]
        for what in ("training", "evaluation"):
            speed, cost = one[what]
            ideal = found[0][what][0] * min(count, cores) / min(counts[0], cores)
            cells += [f"{speed:.1f}", f"{speed / ideal:.0%}", f"{1e3 * cost:.0f}"]
        rows.append(cells)
    columns = [
        f"{what}: {column}"
        for what in ("training", "evaluation")
        for column in ("pictures/s", "efficiency", "processor ms a picture")
    ]
    return f"{cores} cores:\n\n{markdown_table(['processes', *columns], rows)}"


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure(folder: Path, *options: str) -> dict[str, tuple[float, float]]:
    """Pictures a second of all processes together, and seconds of processor time a picture, of each part."""
    run = small_run(folder, BATCH, *options)
    batches = iter(run.batches)

    def train() -> None:
        for batch in islice(batches, STEPS):
            run.step(run.state, iter([batch]))

    def evaluate() -> None:
        predict_dataset(run.model, run.validation, run.config.data, run.config.run)

    train()
    of_training = costs(train, STEPS * BATCH * world_size())
    evaluate()
    return {"training": of_training, "evaluation": costs(evaluate, len(run.validation))}


def costs(call: Callable[[], None], pictures: int) -> tuple[float, float]:
    """(pictures/s, seconds of processor time a picture) of a call in which all processes take part."""
    speeds, seconds = [], []
    for _ in range(ROUNDS):
        wait_for_all()
        start_of, used = time.perf_counter(), time.process_time()
        call()
        own = time.process_time() - used
        wait_for_all()
        speeds.append(pictures / (time.perf_counter() - start_of))
        seconds.append(sum(gather_objects(own)) / pictures)
    return statistics.median(speeds), statistics.median(seconds)


def wait_for_all() -> None:
    """Returns once every process has called it."""
    if world_size() > 1:
        dist.barrier()


if __name__ == "__main__":
    with process_group(torch.device("cpu")):
        measured = measure(Path(sys.argv[1]), *sys.argv[2:])
        if is_main():
            say(json.dumps(measured))
