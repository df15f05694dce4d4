"""Fine-tunings that belong together: variants of a network with several seeds, one or several at once."""

import logging
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import current_thread
from typing import Any, NamedTuple, TypeVar

import torch

from detection.config import DetectionConfig
from detection.train import finetune
from foundation.errors import UserError
from reproduction.runs import require_counts
from segmentation.config import SegmentationConfig
from segmentation.segmenter_training import train_segmenter
from training.command import Interrupted, set_up_process, stop_requested, stop_requests
from training.devices import world_size

logger = logging.getLogger(__name__)
Config = TypeVar("Config", DetectionConfig, SegmentationConfig)
TICK_SECONDS = 0.5  # between looks at whether the command is asked to stop


class Training(NamedTuple):
    """One fine-tuning: what it is called, and the arguments of `finetune` or `train_segmenter`."""

    name: str
    config: DetectionConfig | SegmentationConfig
    folder: Path
    resume: bool
    overwrite: bool

    def train(self) -> dict[str, Any]:
        """The result, as result.json holds it."""
        logger.info("%s", self.name)
        if isinstance(self.config, SegmentationConfig):
            return train_segmenter(self.config, self.folder, resume=self.resume, overwrite=self.overwrite)
        return finetune(self.config, self.folder, resume=self.resume, overwrite=self.overwrite)


def with_seed(config: Config, seed: int) -> Config:
    """The same configuration with another `run.seed`."""
    return replace(config, run=replace(config.run, seed=seed))


def train_variants(
    names: Sequence[str],
    configure: Callable[[str, int], DetectionConfig | SegmentationConfig],
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
        The results of every seed by the variant's name, as `Training.train` gives them.
    Raises:
        UserError: fewer than one seed or process, or whatever a training refuses.
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
    """The results of all, each as `Training.train` gives it; the arguments are those of `train_variants`."""
    if processes == 1:
        return [training.train() for training in trainings]
    with stop_requests():
        results = _train_at_once(trainings, processes)
    if stop_requested():
        raise Interrupted("stopped; every training that was under way is saved")
    return results


def _train_at_once(trainings: Sequence[Training], processes: int) -> list[dict[str, Any]]:
    """The results of trainings that each have a process of their own, so many at a time.

    If one fails, or if the command is asked to stop, the others save the step at hand and end.
    """
    context, cores = get_context("spawn"), max(1, torch.get_num_threads() // processes)
    waiting, results = list(enumerate(trainings)), dict[int, dict[str, Any]]()
    running: dict[Connection, tuple[int, SpawnProcess]] = {}
    failure, ending = None, False
    try:
        while running or (waiting and not ending):
            while waiting and len(running) < processes and not ending:
                number, training = waiting.pop(0)
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_train_beside_others, args=(training, cores, theirs))
                process.start()
                theirs.close()
                running[ours] = number, process
            wait([*running], timeout=TICK_SECONDS)
            for connection in [one for one in running if one.poll()]:
                number, process = running.pop(connection)
                outcome = _outcome(connection, trainings[number].name, process)
                if isinstance(outcome, BaseException):
                    failure = failure or outcome
                else:
                    results[number] = outcome
            if not ending and (failure is not None or stop_requested()):
                ending = True
                for _, process in running.values():
                    process.terminate()  # it saves the step at hand
    except BaseException:  # asked a second time
        for _, process in running.values():
            process.kill()
        raise
    if failure is not None and not stop_requested():
        raise failure
    return [results[number] for number in sorted(results)]


def _outcome(connection: Connection, name: str, process: SpawnProcess) -> dict[str, Any] | BaseException:
    """What a training ended with: its result, or why it has none."""
    try:
        outcome: dict[str, Any] | BaseException = connection.recv()
    except EOFError:
        outcome = UserError(
            f"{name}: its process has died, most often for want of memory; continue with --resume, or let "
            "fewer run at once"
        )
    process.join()
    return outcome


def _train_beside_others(training: Training, cores: int, connection: Connection) -> None:
    """A training in a process of its own; its result, or what went wrong, goes through the connection."""
    for number in (signal.SIGINT, signal.SIGTERM):  # before its first step and behind its last
        signal.signal(number, lambda *_: sys.exit(128 + signal.SIGTERM))
    torch.set_num_threads(cores)
    set_up_process()
    current_thread().name = training.name  # its lines in the log say so, and it draws no bar
    try:
        connection.send(training.train())
    except (KeyboardInterrupt, SystemExit):
        connection.send(Interrupted(f"{training.name} was stopped"))
    except Exception as error:
        # What is the user's to fix says so in a line; of everything else the place is wanted.
        known = error if hasattr(error, "exit_status") else RuntimeError(traceback.format_exc())
        connection.send(known)
