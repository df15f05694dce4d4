"""Fine-tunings that belong together: variants of a detector with several seeds, one or several at once."""

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import active_children, get_context
from pathlib import Path
from threading import current_thread
from typing import Any, NamedTuple

import torch

from detection.config import DetectionConfig
from detection.train import finetune
from foundation.errors import UserError
from reproduction.runs import require_counts
from training.command import set_up_logging
from training.devices import world_size

logger = logging.getLogger(__name__)


class Training(NamedTuple):
    """One fine-tuning: what it is called, and the arguments of `finetune`."""

    name: str
    config: DetectionConfig
    folder: Path
    resume: bool
    overwrite: bool


def with_seed(config: DetectionConfig, seed: int) -> DetectionConfig:
    """The same configuration with another `run.seed`."""
    return replace(config, run=replace(config.run, seed=seed))


def train_variants(
    names: Sequence[str],
    configure: Callable[[str, int], DetectionConfig],
    folder: Callable[[str, int], Path],
    *,
    seeds: int,
    resume: bool,
    overwrite: bool,
    processes: int,
) -> dict[str, list[dict[str, Any]]]:
    """Fine-tunes every variant with seeds 0 … seeds - 1: all with the first seed, then all with the next.

    Args:
        configure, folder: the configuration and the run folder of a variant, by its name, with a seed.
        resume: go on with what has begun; what has not begins.
        processes: so many trainings at once, each with its share of the CPU's cores. Sums are rounded in
            another order with another number of cores, so figures differ a little.
    Returns:
        The results of every seed by the variant's name, as `finetune` gives them.
    Raises:
        UserError: fewer than one seed or process, or whatever `finetune` refuses.
    """
    require_counts(seeds=seeds, processes=processes)
    refuse_processes(processes, "--processes")
    trainings = []
    for seed in range(seeds):
        for name in names:
            place = folder(name, seed)
            begun = (place / "config.yaml").is_file()  # of what was cut off, some runs are not
            config = configure(name, seed)
            trainings.append(Training(f"{name}, seed {seed}", config, place, resume and begun, overwrite))
    done = train_all(trainings, processes)
    return {name: done[place :: len(names)] for place, name in enumerate(names)}


def refuse_processes(processes: int, option: str) -> None:
    """Several processes of ours do not go with those of torchrun."""
    if processes > 1 and world_size() > 1:
        raise UserError(f"{option} {processes} has no effect under torchrun; leave it out")


def train_all(trainings: Sequence[Training], processes: int) -> list[dict[str, Any]]:
    """The results of all, each as `finetune` gives it; the arguments are those of `train_variants`."""
    return [*map(_train, trainings)] if processes == 1 else _train_at_once(trainings, processes)


def _train(training: Training) -> dict[str, Any]:
    logger.info("%s", training.name)
    resume, overwrite = training.resume, training.overwrite
    return finetune(training.config, training.folder, resume=resume, overwrite=overwrite)


def _train_at_once(trainings: Sequence[Training], processes: int) -> list[dict[str, Any]]:
    """The results of trainings that each run in one of so many processes; if one fails all end."""
    cores = max(1, torch.get_num_threads() // processes)
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin, initargs=(cores,))
    try:
        return list(pool.map(_train_beside_others, trainings))
    except BaseException:
        for process in active_children():
            process.terminate()  # it saves the step at hand
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(cores: int) -> None:
    """Prepares a process for trainings: Ctrl-C and SIGTERM end it quietly where none is under way."""
    torch.set_num_threads(cores)
    set_up_logging()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(128 + signal.SIGTERM))


def _train_beside_others(training: Training) -> dict[str, Any]:
    current_thread().name = training.name  # its lines in the log say so, and it draws no bar
    return _train(training)
