"""A whole training in its run folder: start or continue, report, evaluate, keep the best, end."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from foundation.errors import UserError
from training.command import watched
from training.compile import compile_blocks, recompute_blocks
from training.config import require_between, require_positive
from training.devices import (
    broadcast_buffers,
    broadcast_object,
    emulates_bf16,
    is_main,
    mean_over_processes,
    rank,
    world_size,
    wrap,
)
from training.graph import STEPS, GraphedSteps, require_capturable
from training.loop import StopTraining, TrainingStep, TrainState, fit
from training.optim import OptimConfig, WeightAverage, build_optimizer, describe_lr
from training.run_folder import RunFolder
from training.schedule import ScheduleConfig, ends_warmup
from training.seeding import draw_apart

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run is executed."""

    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    compile: bool = False  # each block by torch.compile; equal blocks share their code
    recompute: bool = False  # activations inside the blocks, for the backward pass, instead of keeping them
    # Captures steps, and detections in evaluation; needs one process, a GPU and SGD. See `training.graph`.
    cuda_graph: bool = False
    workers: int = 2
    log_every: int = 50
    eval_every: int = 1000
    checkpoint_every: int = 1000
    early_stop: int | None = None  # evaluations without improvement until the end

    def __post_init__(self) -> None:
        require_positive(self, "log_every", "eval_every", "checkpoint_every", "early_stop")
        require_between(self, 0, math.inf, "seed", "workers")


class TrainingConfig(Protocol):
    """A dataclass with the sections that every training has."""

    @property
    def optim(self) -> OptimConfig: ...
    @property
    def schedule(self) -> ScheduleConfig: ...
    @property
    def run(self) -> RunConfig: ...


class Evaluation(NamedTuple):
    """What `Task.evaluate` gives."""

    error: float  # decides which weights are best: lower is better, NaN is worst (null in result.json)
    result: dict[str, Any]  # what result.json says of it; holds at least "scores", by name


@dataclass(frozen=True)
class Task:
    """What one kind of training brings."""

    model: nn.Module  # on its device
    batches: Callable[[int], Iterable[Any]]  # micro-batches of this process, without end, from a step on
    losses: Callable[[nn.Module, Any], dict[str, Tensor]]  # see `training.loop.TrainingStep`
    evaluate: Callable[[], Evaluation]  # scores the model; called in every process
    save_weights: Callable[[Path, Mapping[str, float]], None]  # writes them with scores in the header
    # What the pictures' order and the outputs' meaning depend on: a run only goes on with equal data.
    data: Mapping[str, Any]
    order: int = 1  # which rule puts the pictures in order; a checkpoint of another is continued with a word
    resident: bool = False  # batches are small tables of numbers of one shape; pictures lie on the device


def train(
    task: Task, config: TrainingConfig, out: Path, *, resume: bool = False, overwrite: bool = False
) -> dict[str, Any]:
    """Runs a training to its end in the folder `out`.

    Returns:
        What result.json holds: the last evaluation's result, its step, and step and error of the best.
    Raises:
        UserError: the folder cannot be used so, or a loss is not finite.
    """
    optim, schedule, run, model = config.optim, config.schedule, config.run, task.model
    device = next(model.parameters()).device
    if run.cuda_graph:
        require_capturable(optim.kind, device, recompute=run.recompute)
    folder = RunFolder(out)
    checkpoint = folder.open(config, resume=resume, overwrite=overwrite) if is_main() else None
    ended = broadcast_object(folder.read_result() if is_main() else None)
    if ended is not None:
        logger.info("%s ended already", out)
        return ended
    average = None if optim.ema_decay is None else WeightAverage(model, optim.ema_decay)
    state = TrainState(model, build_optimizer(model, optim), average=average)
    draw_apart(run.seed, rank())
    _go_on(state, task, broadcast_object(checkpoint), out)
    del checkpoint  # as large as the model and its momentum
    _announce(model, config, device)
    if run.compile:
        compile_blocks(model)
    if run.recompute:
        recompute_blocks(model)
    step: Any = TrainingStep(
        wrap(model), task.losses, optim=optim, schedule=schedule, precision=run.precision, device=device
    )
    if run.cuda_graph:  # a loader brings batches of different shapes: one step a launch
        step = GraphedSteps(step, steps=STEPS if task.resident else 1)
    between = BetweenSteps(task, config, folder, state.step)
    every = [
        (run.log_every, between.report),
        (run.eval_every, between.evaluate),
        (run.checkpoint_every, between.checkpoint),
        (run.eval_every, between.stop_early),
    ]
    try:
        if not between.is_stuck(state):
            total, parts = schedule.total_steps, optim.accumulate
            batches = watched(task.batches(state.step), total * parts, start=state.step * parts)
            fit(state, batches, step, total, every)
        return between.finish(state)
    finally:
        folder.close()


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
        processes = (checkpoint["processes"], world_size())
        logger.warning("%d processes before, %d now: the run goes on, but not to the same bits", *processes)
    elif checkpoint.get("order", 1) != task.order:
        logger.warning(
            "another version of this toolkit began the run with its pictures in another order: it goes on, "
            "but not to the same bits"
        )
    state.load_state_dict(checkpoint)
    logger.info("%s: continuing after step %d", out, state.step)


def _announce(model: nn.Module, config: TrainingConfig, device: torch.device) -> None:
    """Says what is to be trained, where and how."""
    trained, fixed = (
        sum(p.numel() for p in model.parameters() if p.requires_grad is learns) / 1e6
        for learns in (True, False)
    )
    where = f"{world_size()} x {device.type}" if world_size() > 1 else device.type
    logger.info(
        "%.2f M parameters to train, %.2f M fixed; %s, %s; %s",
        *(trained, fixed, where, config.run.precision, describe_lr(config.optim)),
    )
    if config.run.precision == "bf16" and emulates_bf16(device):
        logger.warning("run.precision=bf16 is emulated on this CPU, and slow; use run.precision=fp32")


class BetweenSteps:
    """What happens between the steps of a training: reports, evaluations, checkpoints, and the end."""

    def __init__(self, task: Task, config: TrainingConfig, folder: RunFolder, step: int) -> None:
        self.task, self.config, self.folder = task, config, folder
        self.last: Evaluation | None = None
        self.clock, self.clock_step = time.perf_counter(), step  # for the reported speed

    def report(self, state: TrainState) -> None:
        """Means of the loss terms since the last report, over all processes."""
        schedule = self.config.schedule
        state.loss_sums = mean_over_processes(state.loss_sums)
        losses = {name: value.item() / state.loss_steps for name, value in state.loss_sums.items()}
        pictures = (state.step - self.clock_step) * self.config.optim.batch_size
        speed = pictures / (time.perf_counter() - self.clock)
        state.loss_sums, state.loss_steps = {}, 0
        if schedule.warmup == "error" and not state.warm and ends_warmup(schedule, losses):
            state.warm, limit = True, schedule.warmup_error
            logger.info("training error below %g %%: the warm-up ends at step %d", limit, state.step)
        lr = state.optimizer.param_groups[0]["lr"]
        terms = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        figures = (state.step, schedule.total_steps, terms, lr, speed)
        logger.info("step %d/%d  %s  lr %.5g  %.0f pictures/s", *figures)
        if is_main():
            self.folder.record(state.step, {**losses, "lr": lr}, pictures_per_second=speed)
        self.clock, self.clock_step = time.perf_counter(), state.step

    def evaluate(self, state: TrainState) -> None:
        """Scores the model, and keeps its weights if they are the best so far."""
        paused = time.perf_counter()
        with state.averaged():
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
        self.clock += time.perf_counter() - paused

    def _score(self) -> Evaluation:
        broadcast_buffers(self.task.model)  # what is scored is what is saved
        return self.task.evaluate()

    def checkpoint(self, state: TrainState) -> None:
        """Writes everything needed to go on from here."""
        paused = time.perf_counter()
        state.loss_sums = mean_over_processes(state.loss_sums)
        about = {"data": dict(self.task.data), "processes": world_size(), "order": self.task.order}
        content = {**state.state_dict(), **about}
        if is_main():
            self.folder.save_checkpoint(content)
        self.clock += time.perf_counter() - paused

    def is_stuck(self, state: TrainState) -> bool:
        """Whether the last `run.early_stop` evaluations brought nothing better."""
        patience, errors = self.config.run.early_stop, state.errors
        return patience is not None and errors != [] and len(errors) - errors.index(min(errors)) > patience

    def stop_early(self, state: TrainState) -> None:
        """Ends the training if it is stuck."""
        if self.is_stuck(state):
            patience = self.config.run.early_stop
            logger.info("no better for %d evaluations: stopping at step %d", patience, state.step)
            raise StopTraining

    def finish(self, state: TrainState) -> dict[str, Any]:
        """Writes the last checkpoint, the last weights and the result; returns the result."""
        self.checkpoint(state)
        with state.averaged():
            # A run killed after its last checkpoint has its weights, but not their scores.
            last = self.last or self._score()
            if is_main():
                self.task.save_weights(self.folder.path / "last.safetensors", last.result["scores"])
        step, error = min(state.evaluations, key=lambda entry: entry[1])
        best = {"step": step, "error": None if math.isinf(error) else error}
        result = {"step": state.step, **last.result, "best": best}
        if is_main():
            self.folder.write_result(result)
            logger.info("%s holds best.safetensors, last.safetensors and result.json", self.folder.path)
        return broadcast_object(result)  # no process goes on to read these files before they are there


def describe(scores: Mapping[str, float | None]) -> str:
    """Scores in one line; None is a score there was nothing for."""
    return "  ".join(
        f"{name} {'-' if value is None else format(value, '.4g')}" for name, value in scores.items()
    )
