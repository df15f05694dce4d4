"""The training loop, and the step it repeats."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from foundation.errors import UserError
from training.devices import fetch, gather_objects, rank
from training.optim import OptimConfig, WeightAverage, scaled_lr
from training.schedule import ScheduleConfig, lr_factor
from training.seeding import capture_rng, restore_rng


class StopTraining(Exception):  # noqa: N818 - not an error
    """Raised by a callable of `fit` to end the training here."""


@dataclass
class TrainState:
    """Everything a training changes."""

    model: nn.Module  # the network itself, not its DDP or compiled form
    optimizer: Optimizer
    step: int = 0  # optimiser steps done
    evaluations: list[tuple[int, float]] = field(default_factory=list)  # (step, error), lower is better
    loss_sums: dict[str, Tensor] = field(default_factory=dict)  # since the last report, over `loss_steps`
    loss_steps: int = 0
    warm: bool = False  # whether a reported training error has ended the warm-up "error"
    average: WeightAverage | None = None  # of the model's weights, if one is kept

    @property
    def errors(self) -> list[float]:
        """The errors of all evaluations, oldest first."""
        return [error for _, error in self.evaluations]

    def averaged(self) -> AbstractContextManager[None]:
        """Within the block the model holds the average of its weights, if one is kept."""
        return nullcontext() if self.average is None else self.average.in_place()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds, every process's random generators included; called in all of them."""
        plain = ("step", "evaluations", "loss_sums", "loss_steps", "warm")
        return {
            **{name: getattr(self, name) for name in plain},
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "rng": gather_objects(capture_rng()),
        }

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Goes back to where `state_dict` was taken."""
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.loss_steps = content["step"], content["loss_steps"]
        self.warm = content.get("warm", False)  # checkpoints of 0.1.0 lack it
        self.evaluations = [tuple(entry) for entry in content["evaluations"]]
        device = next(self.model.parameters()).device
        self.loss_sums = {name: value.to(device) for name, value in content["loss_sums"].items()}
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        states = content["rng"]
        if isinstance(states, dict):  # checkpoints of 0.1.0 hold the main process's alone
            states = [states]
        if rank() < len(states):
            restore_rng(states[rank()])


class StepReport(NamedTuple):
    """What a step did."""

    losses: dict[str, Tensor]  # by name, detached scalars on the device, summed over the steps taken
    batches: Sequence[Any]  # the micro-batches as they came
    steps: int = 1  # optimiser steps taken

    @property
    def ids(self) -> list[str]:
        """The names of all pictures in the micro-batches."""
        return [name for batch in self.batches for name in batch.ids]


Step = Callable[[TrainState, Iterator[Any], int], StepReport]


def fit(
    state: TrainState,
    batches: Iterable[Any],
    step: Step,
    total_steps: int,
    every: Sequence[tuple[int, Callable[[TrainState], None]]] = (),
    *,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Trains until `total_steps` steps are done in all, or until it is asked to stop.

    Args:
        state: changed in place; a continued run starts at its step.
        batches: micro-batches from `state.step` on, as many as `step` takes.
        step: takes at least one optimiser step and at most as many as its last argument says.
        every: (n, callable): called in this order after every n-th step and after the last, with losses and
            weights known to be finite. They leave the model in training mode.
        asked_to_stop: called after every call of `step`; where it says so the training ends, after what is
            due, with losses and weights known to be finite.
    Raises:
        UserError: a loss is not finite; says which, and on which pictures. Or a weight is not.
    """
    stream, watch = iter(batches), LossWatch()
    state.model.train()
    while state.step < total_steps:
        limit = min([total_steps - state.step, *(n - state.step % n for n, _ in every)])
        report = step(state, stream, limit)
        state.step += report.steps
        watch.add(state.step, report)
        for name, value in report.losses.items():
            state.loss_sums[name] = state.loss_sums.get(name, 0) + value
        state.loss_steps += report.steps
        stopping = asked_to_stop()
        due = [call for n, call in every if state.step % n == 0 or state.step == total_steps]
        if due or stopping:
            watch.check()
            refuse_not_finite_weights(state)
        try:
            for call in due:
                call(state)
        except StopTraining:
            return
        if stopping:
            return


class TrainingStep:
    """One optimiser step: micro-batches forward and backward, clipping, optimiser, average.

    Args:
        network: what computes; the state's model, or its DDP form.
        losses: gives the loss terms of a micro-batch on the device from (network, batch), to be summed. What
            carries no gradient, such as an error rate, is reported beside them and changes no weight.
        device: where it happens; a batch offers `to(device)` and `ids`.
        precision: "bf16" computes the losses under autocast.
        around: entered with the step's number, its passes forward and backward take place inside.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Callable[[nn.Module, Any], dict[str, Tensor]],
        *,
        optim: OptimConfig,
        schedule: ScheduleConfig,
        device: torch.device,
        precision: Literal["fp32", "bf16"],
        around: Callable[[int], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.network, self.losses, self.device, self.around = network, losses, device, around
        self.optim, self.schedule, self.bf16 = optim, schedule, precision == "bf16"
        self.loss_names: set[str] = set()  # of the terms that have carried a gradient

    def lr(self, state: TrainState, step: int) -> float:
        """The learning rate of optimiser step `step` by what is known now."""
        return scaled_lr(self.optim) * lr_factor(self.schedule, step, state.errors, warm=state.warm)

    def __call__(
        self, state: TrainState, batches: Iterator[Any], limit: int = 1, *, lr: Tensor | None = None
    ) -> StepReport:
        """Takes one step with `optim.accumulate` micro-batches; `lr` replaces the rate of the schedule."""
        set_lr(state.optimizer, self.lr(state, state.step) if lr is None else lr)
        state.optimizer.zero_grad()
        totals: dict[str, Tensor] = {}
        taken = []
        with self.around(state.step):
            for left in reversed(range(self.optim.accumulate)):
                taken.append(next(batches))
                for name, value in self._gradients(taken[-1], last=left == 0).items():
                    totals[name] = totals.get(name, 0) + value
        if self.optim.clip_norm is not None:
            nn.utils.clip_grad_norm_(state.model.parameters(), self.optim.clip_norm)
        state.optimizer.step()
        if state.average is not None:
            state.average.update()
        return StepReport(totals, taken)

    def _gradients(self, batch: Any, *, last: bool) -> dict[str, Tensor]:
        """Adds a micro-batch's gradients to those of the step; gives its share of the loss terms."""
        # DDP exchanges gradients once a step, after the last micro-batch.
        waits = isinstance(self.network, DistributedDataParallel) and not last
        with self.network.no_sync() if waits else nullcontext():  # type: ignore[operator]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                terms = self.losses(self.network, batch.to(self.device))
            self.loss_names |= {name for name, value in terms.items() if value.requires_grad}
            terms = {name: value / self.optim.accumulate for name, value in terms.items()}
            torch.stack(list(terms.values())).sum().backward()
        return {name: value.detach() for name, value in terms.items()}


def set_lr(optimizer: Optimizer, lr: float | Tensor) -> None:
    """Gives all parameters this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr


MOST_NAMED = 256  # pictures in a message; a whole batch of the paper's
ADVICE = (
    "The last checkpoint is intact. Lower optim.lr, lengthen schedule.warmup_steps or set optim.clip_norm"
)


class LossWatch:
    """Refuses a loss that is not finite, a step later: looking at once would make a GPU wait for the host."""

    def __init__(self) -> None:
        self._queued: tuple[int, StepReport, Tensor, Callable[[], None]] | None = None

    def add(self, step: int, report: StepReport) -> None:
        """Queues a step, and checks the one before."""
        losses = torch.stack([value.float() for value in report.losses.values()])
        (values,), wait = fetch([losses])
        self.check()
        self._queued = step, report, values, wait

    def check(self) -> None:
        """Checks the queued step now."""
        queued, self._queued = self._queued, None
        if queued is None:
            return
        step, report, values, wait = queued
        wait()
        numbers = values.tolist()
        if all(map(math.isfinite, numbers)):
            return
        place = f"at step {step}" if report.steps == 1 else f"in steps {step - report.steps + 1} to {step}"
        terms = ", ".join(f"{name} {value:g}" for name, value in zip(report.losses, numbers, strict=True))
        ids = report.ids
        more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
        raise UserError(
            f"the loss is not finite {place}: {terms}; pictures of the batch: "
            f"{', '.join(ids[:MOST_NAMED])}{more}.\n{ADVICE}"
        )


def refuse_not_finite_weights(state: TrainState) -> None:
    """Raises UserError if a weight is not finite: gradients can overflow where the loss did not."""
    tensors = {name: t for name, t in state.model.state_dict().items() if t.is_floating_point()}
    finite = torch.stack([tensor.isfinite().all() for tensor in tensors.values()]).tolist()
    bad = [name for name, good in zip(tensors, finite, strict=True) if not good]
    if bad:
        raise UserError(f"{bad[0]} and {len(bad) - 1} more are not finite after step {state.step}.\n{ADVICE}")
