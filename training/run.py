"""A whole training in its run folder: start or continue, report, evaluate, keep the best, end."""

import gc
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from foundation.errors import UserError
from training.command import Interrupted, stop_requested, stop_requests
from training.compile import compile_blocks, recompute_blocks
from training.devices import (
    any_process,
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
from training.optim import WeightAverage, build_optimizer, describe_lr
from training.progress.training_progress import TrainingProgress
from training.progress.versions import describe_versions
from training.run_folder import RunFolder
from training.schedule import TrainingConfig, ends_warmup
from training.seeding import draw_apart

logger = logging.getLogger(__name__)


class Evaluation(NamedTuple):
    """What `Task.evaluate` gives."""

    error: float  # decides which weights are best: lower is better, NaN is worst (null in result.json)
    result: dict[str, Any]  # what result.json says of it; holds at least "scores", by name
    fractions: bool = False  # whether the scores are 0 … 1, to be shown in per cent


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
    network: Mapping[str, Any]  # what no tensor of the model holds, but whoever continues the run must know
    order: int = 1  # which rule puts the pictures in order; a checkpoint of another is continued with a word
    resident: bool = False  # batches are small tables of numbers of one shape; pictures lie on the device
    pictures: int = 0  # of the training set, for the epoch in reports; 0 leaves it out
    guess_seconds: Callable[[], float] = lambda: 0.0  # of an evaluation, from a few pictures
    # Draws the run's pictures, in the main process: after an evaluation's checkpoint, and at the end (True).
    draw: Callable[[bool], None] | None = None
    # Entered with the number of a step, whose passes forward and backward take place inside; it may let
    # parameters rest.
    around_step: Callable[[int], AbstractContextManager[Any]] | None = None


def train(task: Task, config: TrainingConfig, folder: RunFolder) -> dict[str, Any]:
    """Runs a training to its end in an opened folder.

    A checkpoint is written before every evaluation, which can fail, and after it. Asked to stop by Ctrl-C or
    SIGTERM, the training saves one when the step at hand is done.

    Returns:
        What result.json holds: the last evaluation's result, its step, and step and error of the best.
    Raises:
        UserError: the run has other data, or a loss is not finite.
        Interrupted: it was asked to stop.
    """
    optim, schedule, run, model = config.optim, config.schedule, config.run, task.model
    assert schedule.total_steps > 0  # whoever opened the data has called `in_steps`
    gc.collect()  # the network of a training before lies in cycles, and commands rarely collect all garbage
    device = next(model.parameters()).device
    if run.cuda_graph:
        require_capturable(optim.kind, device, recompute=run.recompute)
    average = None if optim.ema_decay is None else WeightAverage(model, optim.ema_decay)
    state = TrainState(model, build_optimizer(model, optim), average=average)
    draw_apart(run.seed, rank())
    _go_on(state, task, folder)
    if is_main():
        folder.begin(config)
    folder.checkpoint = None  # as large as the model and its momentum
    _announce(model, config, device)
    guess = task.guess_seconds() if is_main() and not state.evaluations else 0.0
    if run.compile:
        compile_blocks(model)
    if run.recompute:
        recompute_blocks(model)
    step: Any = TrainingStep(
        wrap(model, parts_rest=task.around_step is not None),
        task.losses,
        optim=optim,
        schedule=schedule,
        precision=run.precision,
        device=device,
        around=task.around_step or nullcontext,
    )
    progress = TrainingProgress(
        config, state.step, task.pictures, loss_names=step.loss_names, device=device, evaluation_guess=guess
    )
    if run.cuda_graph:  # a loader brings batches of different shapes: one step a launch
        step = GraphedSteps(step, steps=STEPS if task.resident else 1)
    between = BetweenSteps(task, config, folder, progress)
    every = [
        (run.log_every, between.report),
        (run.eval_every, between.checkpoint),
        (run.eval_every, between.evaluate),
        (run.checkpoint_every, between.checkpoint),
        (run.eval_every, between.stop_early),
    ]
    with stop_requests():
        if between.owes_evaluation(state):
            between.evaluate(state)
        if not between.is_stuck(state):
            take, asked = progress.counted(step), between.is_asked_to_stop
            with progress.shown():
                fit(state, task.batches(state.step), take, schedule.total_steps, every, asked_to_stop=asked)
        if between.stopping:
            between.checkpoint(state)
            raise Interrupted(f"stopped after step {state.step}, which is saved")
        return between.finish(state)


def _go_on(state: TrainState, task: Task, folder: RunFolder) -> None:
    """Brings a new state to where the folder's checkpoint was written, if there is one."""
    checkpoint, out = folder.checkpoint, folder.path
    if checkpoint is None:
        return
    # Checkpoints of earlier releases say less of their data.
    changed = [name for name, value in checkpoint["data"].items() if task.data.get(name) != value]
    if changed:
        values = (checkpoint["data"][changed[0]], task.data.get(changed[0]))
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
    logger.info("%s", describe_versions())
    if config.run.precision == "bf16" and emulates_bf16(device):
        logger.warning("run.precision=bf16 is emulated on this CPU, and slow; use run.precision=fp32")


class BetweenSteps:
    """What happens between the steps of a training: reports, evaluations, checkpoints, and the end."""

    def __init__(
        self, task: Task, config: TrainingConfig, folder: RunFolder, progress: TrainingProgress
    ) -> None:
        self.task, self.config, self.folder, self.progress = task, config, folder, progress
        self.last: Evaluation | None = None
        self.stopping = False  # whether the training has been asked to stop
        self.saved: tuple[int, int] | None = None  # steps and evaluations of the last checkpoint

    def is_asked_to_stop(self) -> bool:
        """Whether Ctrl-C or SIGTERM has reached any process; the same in all."""
        self.stopping = any_process(stop_requested())
        return self.stopping

    def report(self, state: TrainState) -> None:
        """Means of the loss terms since the last report, over all processes."""
        schedule = self.config.schedule
        state.loss_sums = mean_over_processes(state.loss_sums)
        losses = {name: value.item() / state.loss_steps for name, value in state.loss_sums.items()}
        state.loss_sums, state.loss_steps = {}, 0
        if schedule.warmup == "error" and not state.warm and ends_warmup(schedule, losses):
            state.warm, limit = True, schedule.warmup_error
            logger.info("training error below %g %%: the warm-up ends at step %d", limit, state.step)
        lr = state.optimizer.param_groups[0]["lr"]
        line, speed = self.progress.report(state, losses)
        logger.info("%s", line)
        if is_main():
            self.folder.record(state.step, {**losses, "lr": lr}, pictures_per_second=speed)

    def evaluate(self, state: TrainState) -> None:
        """Scores the model, keeps its weights if they are the best so far, and writes a checkpoint again."""
        if self.stopping:  # whoever continues `owes_evaluation`
            return
        with self.progress.clock.pause("evaluation"):
            with state.averaged():
                self.last = self._score()
                error = math.inf if math.isnan(self.last.error) else self.last.error
                best = not state.evaluations or error < min(state.errors)
                state.evaluations.append((state.step, error))
                if is_main():
                    self._tell(self.last, state, best)
            self.checkpoint(state)
            self._draw(last=False)

    def _tell(self, found: Evaluation, state: TrainState, best: bool) -> None:
        """Logs and records an evaluation, and saves the weights if it is the best so far."""
        scores, best_step = found.result["scores"], _best_step(state)
        earlier = self.folder.scores_by_step()
        text = self.progress.describe_scores(scores, earlier, best_step, per_cent=found.fractions)
        logger.info("%s", text)
        self.folder.record(state.step, {f"val/{name}": value for name, value in scores.items()})
        if best:
            self.task.save_weights(self.folder.path / "best.safetensors", scores)

    def _draw(self, last: bool) -> None:
        if self.task.draw is not None and is_main():
            self.task.draw(last)

    def owes_evaluation(self, state: TrainState) -> bool:
        """Whether the state was saved before an evaluation that was due then and has not been made."""
        due = state.step % self.config.run.eval_every == 0 or state.step == self.config.schedule.total_steps
        return due and state.step > 0 and all(step != state.step for step, _ in state.evaluations)

    def _score(self) -> Evaluation:
        broadcast_buffers(self.task.model)  # what is scored is what is saved
        return self.task.evaluate()

    def checkpoint(self, state: TrainState) -> None:
        """Writes everything needed to go on from here, unless that was just done."""
        point = state.step, len(state.evaluations)
        if self.saved == point:
            return
        self.saved = point
        with self.progress.clock.pause("checkpoint"):
            state.loss_sums = mean_over_processes(state.loss_sums)
            task = self.task
            about = {"data": dict(task.data), "network": dict(task.network), "order": task.order}
            content = {**state.state_dict(), **about, "processes": world_size()}
            if is_main():
                self.folder.save_checkpoint(content)

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
        """Writes the last weights and the result; returns the result."""
        with state.averaged():
            # A run killed after its last checkpoint has its weights, but not their scores.
            last = self.last or self._score()
            if is_main():
                self.task.save_weights(self.folder.path / "last.safetensors", last.result["scores"])
        step = _best_step(state)
        error = dict(state.evaluations)[step]
        best = {"step": step, "error": None if math.isinf(error) else error}
        result = {"step": state.step, **last.result, "best": best}
        if is_main():
            self.folder.write_result(result)
            self._draw(last=True)
            logger.info("%s", self.progress.describe_time())
            logger.info("%s holds best.safetensors, last.safetensors and result.json", self.folder.path)
        return broadcast_object(result)  # no process goes on to read these files before they are there


def _best_step(state: TrainState) -> int:
    """Where the smallest error was found; of equal ones the first."""
    return min(state.evaluations, key=lambda entry: entry[1])[0]
