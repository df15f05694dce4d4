"""A whole training in its run folder: start or continue, report, evaluate, keep the best, end."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from foundation.errors import UserError
from training.command import watched
from training.compile import compile_blocks, recompute_blocks
from training.config import OptimConfig, RunConfig, ScheduleConfig, complete_config, dump_config
from training.devices import (
    broadcast_buffers,
    broadcast_object,
    emulates_bf16,
    gather_objects,
    is_main,
    world_size,
    wrap,
)
from training.graph import STEPS, GraphedSteps
from training.loop import Step, StopTraining, TrainingStep, TrainState, fit
from training.optim import WeightAverage, build_optimizer, describe_lr
from training.run_folder import RunFolder

logger = logging.getLogger(__name__)


class TrainingConfig(Protocol):
    """The sections that every training has; a dataclass."""

    @property
    def optim(self) -> OptimConfig: ...
    @property
    def schedule(self) -> ScheduleConfig: ...
    @property
    def run(self) -> RunConfig: ...


class Evaluation(NamedTuple):
    """What `Task.evaluate` gives.

    Attributes:
        error: decides which weights are best: lower is better, NaN is worst (null in result.json).
        result: what result.json says of it; holds at least "scores", by name.
    """

    error: float
    result: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What one kind of training brings.

    Attributes:
        model: on its device.
        batches: micro-batches of this process, without end, from an optimiser step on.
        losses: loss terms of a micro-batch, from (network, batch); see `training.loop.TrainingStep`.
        evaluate: scores the model; called in every process.
        save_weights: writes a weight file with these scores in its header.
        resident: whether a batch is a small table of numbers, always of one shape, whose pictures lie on the
            device already.
        data: what the order of the pictures and the meaning of the outputs hang on, such as their numbers and
            the classes; a run only goes on with equal data.
    """

    model: nn.Module
    batches: Callable[[int], Iterable[Any]]
    losses: Callable[[nn.Module, Any], dict[str, Tensor]]
    evaluate: Callable[[], Evaluation]
    save_weights: Callable[[Path, Mapping[str, float]], None]
    data: Mapping[str, Any]
    resident: bool = False


def train(
    task: Task, config: TrainingConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Runs a training to its end in the folder `out`.

    Returns:
        What result.json holds: the last evaluation's result, its step, and step and error of the best.
    Raises:
        UserError: the folder cannot be used so, or a loss is not finite.
    """
    if config.run.cuda_graph:
        _check_graph(task, config)
    folder = RunFolder(out)
    opened = _open(folder, config, resume=resume, overwrite=overwrite) if is_main() else None
    ended = broadcast_object(folder.read_result() if is_main() else None)
    if ended is not None:
        logger.info("%s ended already", out)
        return ended
    decay = config.optim.ema_decay
    average = None if decay is None else WeightAverage(task.model, decay)
    state = TrainState(task.model, build_optimizer(task.model, config.optim), average=average)
    _go_on(state, task, broadcast_object(opened), out)
    del opened  # as large as the model and its momentum
    try:
        return _Run(task, config, state, folder).to_the_end()
    finally:
        folder.close()


def _check_graph(task: Task, config: TrainingConfig) -> None:
    """Refuses to capture what cannot be captured."""
    device = next(task.model.parameters()).device
    problems = {
        f"the training is on the {device.type}": device.type != "cuda",
        f"there are {world_size()} processes": world_size() > 1,
        f"optim.kind is {config.optim.kind}": config.optim.kind != "sgd",
        "run.recompute is on": config.run.recompute,
    }
    if any(problems.values()):
        found = next(text for text, holds in problems.items() if holds)
        raise UserError(
            "run.cuda_graph needs one process, a GPU, SGD and no run.recompute, "
            f"but {found}; use run.cuda_graph=false"
        )


def _open(
    folder: RunFolder, config: TrainingConfig, *, resume: bool, overwrite: bool
) -> dict[str, Any] | None:
    complete = partial(complete_config, type(config), source=str(folder.path / "config.yaml"))
    return folder.open(dump_config(config), resume=resume, overwrite=overwrite, complete=complete)


def _go_on(state: TrainState, task: Task, checkpoint: dict[str, Any] | None, out: Path) -> None:
    """Brings a new state to where a checkpoint was written, if there is one."""
    if checkpoint is None:
        return
    changed = [name for name, value in task.data.items() if checkpoint["data"].get(name) != value]
    if changed:
        values = (checkpoint["data"].get(changed[0]), task.data[changed[0]])
        before, now = (shorten(str(value), 200) for value in values)  # a thousand classes fill the screen
        raise UserError(
            f"{out} was made with other data: {changed[0]} {before} before, {now} now; "
            "restore the data, or start a new run with another --out"
        )
    if checkpoint["processes"] != world_size():
        logger.warning(
            "%d processes before, %d now: the run goes on, but not to the same bits",
            *(checkpoint["processes"], world_size()),
        )
    state.load_state_dict(checkpoint)
    logger.info("%s: continuing after step %d", out, state.step)


class _Run:
    """One training under way: what happens between the steps."""

    def __init__(self, task: Task, config: TrainingConfig, state: TrainState, folder: RunFolder) -> None:
        self.task, self.config, self.state, self.folder = task, config, state, folder
        self.last: Evaluation | None = None
        self.clock, self.clock_step = time.perf_counter(), state.step

    def to_the_end(self) -> dict[str, Any]:
        """Trains and writes the last weights and the result."""
        config, model = self.config, self.task.model
        device = next(model.parameters()).device
        logger.info("%s", self._describe(device))
        if config.run.precision == "bf16" and emulates_bf16(device):
            logger.warning("run.precision=bf16 is emulated on this CPU, and slow; use run.precision=fp32")
        if config.run.compile:
            compile_blocks(model)
        if config.run.recompute:
            recompute_blocks(model)
        step = TrainingStep(
            wrap(model),
            self.task.losses,
            optim=config.optim,
            schedule=config.schedule,
            run=config.run,
            device=device,
        )
        every = [
            (config.run.log_every, self.report),
            (config.run.eval_every, self.evaluate),
            (config.run.checkpoint_every, self.checkpoint),
            (config.run.eval_every, self.stop_early),
        ]
        if not self._is_stuck():
            fit(self.state, self._batches(), self._graphed(step), config.schedule.total_steps, every)
        return self._finish()

    def _graphed(self, step: TrainingStep) -> Step:
        """The step, captured if asked for: one a launch where a loader brings batches of different shapes."""
        if not self.config.run.cuda_graph:
            return step
        return GraphedSteps(step, steps=STEPS if self.task.resident else 1)

    def report(self, state: TrainState) -> None:
        """Means of the loss terms since the last report, over all processes."""
        self._average_losses()
        losses = {name: value.item() / state.loss_steps for name, value in state.loss_sums.items()}
        pictures = (state.step - self.clock_step) * self.config.optim.batch_size
        speed = pictures / (time.perf_counter() - self.clock)
        state.loss_sums, state.loss_steps = {}, 0
        self._end_warmup(losses)
        lr = state.optimizer.param_groups[0]["lr"]
        terms = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        logger.info(
            "step %d/%d  %s  lr %.5g  %.0f pictures/s",
            *(state.step, self.config.schedule.total_steps, terms, lr, speed),
        )
        if is_main():
            self.folder.record(state.step, {**losses, "lr": lr}, pictures_per_second=speed)
        self.clock, self.clock_step = time.perf_counter(), state.step

    def _end_warmup(self, reported: Mapping[str, float]) -> None:
        schedule = self.config.schedule
        if schedule.warmup != "error" or self.state.warm:
            return
        if "top1_error" not in reported:
            raise UserError(
                "schedule.warmup=error waits for a training error, which this training does not report; use "
                "schedule.warmup=linear or constant with schedule.warmup_steps"
            )
        self.state.warm = reported["top1_error"] < schedule.warmup_error
        if self.state.warm:
            logger.info(
                "training error below %g %%: the warm-up ends at step %d",
                *(schedule.warmup_error, self.state.step),
            )

    def _average_losses(self) -> None:
        """Makes the summed losses those of all processes, in each of them."""
        if world_size() == 1:
            return
        sums = self.state.loss_sums
        shares = gather_objects({name: value.item() for name, value in sums.items()})
        for name, value in sums.items():
            sums[name] = torch.full_like(value, sum(share[name] for share in shares) / len(shares))

    def evaluate(self, state: TrainState) -> None:
        """Scores the model, and keeps its weights if they are the best so far."""
        paused = time.perf_counter()
        with self._averaged():
            self._keep_if_best(state)
        self.clock += time.perf_counter() - paused

    def _keep_if_best(self, state: TrainState) -> None:
        self.last = self._score()
        error = math.inf if math.isnan(self.last.error) else self.last.error
        best = not state.evaluations or error < min(state.errors)
        state.evaluations.append((state.step, error))
        scores = self.last.result["scores"]
        logger.info("step %d  %s%s", state.step, describe(scores), "  (best so far)" if best else "")
        if is_main():
            self.folder.record(state.step, {f"val/{name}": value for name, value in scores.items()})
            if best:
                self.task.save_weights(self.folder.path / "best.safetensors", scores)

    def checkpoint(self, state: TrainState) -> None:
        """Writes everything needed to go on from here."""
        paused = time.perf_counter()
        self._average_losses()
        self._save_checkpoint()
        self.clock += time.perf_counter() - paused

    def stop_early(self, state: TrainState) -> None:
        """Ends the training when `run.early_stop` evaluations in a row brought nothing better."""
        if self._is_stuck():
            logger.info(
                "no better for %d evaluations: stopping at step %d", self.config.run.early_stop, state.step
            )
            raise StopTraining

    def _is_stuck(self) -> bool:
        patience, errors = self.config.run.early_stop, self.state.errors
        return (
            patience is not None and bool(errors) and len(errors) - 1 - errors.index(min(errors)) >= patience
        )

    def _averaged(self) -> AbstractContextManager[None]:
        """Within it the model holds what is scored and saved: the average of its weights, if one is kept."""
        return nullcontext() if self.state.average is None else self.state.average.in_place()

    def _score(self) -> Evaluation:
        broadcast_buffers(self.task.model)  # what is scored is what is saved
        return self.task.evaluate()

    def _save_checkpoint(self) -> None:
        if is_main():
            content = self.state.state_dict()
            self.folder.save_checkpoint({**content, "data": dict(self.task.data), "processes": world_size()})

    def _finish(self) -> dict[str, Any]:
        self._save_checkpoint()
        with self._averaged():
            # A run killed after its last checkpoint has its weights, but not their scores.
            last = self.last or self._score()
            if is_main():
                self.task.save_weights(self.folder.path / "last.safetensors", last.result["scores"])
        best_step, best_error = min(self.state.evaluations, key=lambda entry: entry[1])
        best = {"step": best_step, "error": None if math.isinf(best_error) else best_error}
        result = {"step": self.state.step, **last.result, "best": best}
        if is_main():
            self.folder.write_result(result)
            logger.info("%s holds best.safetensors, last.safetensors and result.json", self.folder.path)
        return broadcast_object(result)  # no process goes on to read these files before they are there

    def _batches(self) -> Iterable[Any]:
        """The batches from here on, counted by a progress bar where someone watches."""
        batches = self.task.batches(self.state.step)
        per_step = self.config.optim.accumulate
        done, total = self.state.step * per_step, self.config.schedule.total_steps * per_step
        return watched(batches, total, start=done)

    def _describe(self, device: torch.device) -> str:
        parameters = list(self.task.model.parameters())
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        fixed = sum(p.numel() for p in parameters) - trained
        place = f"{world_size()} x {device.type}" if world_size() > 1 else device.type
        return (
            f"{trained / 1e6:.2f} M parameters to train, {fixed / 1e6:.2f} M fixed; {place}, "
            f"{self.config.run.precision}; {describe_lr(self.config.optim)}"
        )


def describe(scores: Mapping[str, float | None]) -> str:
    """Scores in one line; None is a score there was nothing for."""
    return "  ".join(
        f"{name} {'-' if value is None else format(value, '.4g')}" for name, value in scores.items()
    )
