"""Optimiser steps on a GPU, captured once as a CUDA graph and replayed: the host launches no kernels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

from engine.loop import StepReport, TrainingStep, TrainState, set_lr
from engine.seeding import capture_rng, restore_rng

STEPS = 10  # a launch; more would be cut short by reports
_CAPTURING = Lock()  # one thread at a time: libraries must not free memory while another captures
WARM_UP = 3  # steps before a capture, as torch asks for: libraries choose kernels and allocate in them


class Draw(Protocol):
    """A micro-batch that is a small table of numbers; the pictures it means are on the device."""

    table: Tensor
    ids: list[str]

    def with_table(self, table: Tensor) -> "Draw":
        """The same for another table."""


def record_cuda(body: Callable[[], None]) -> Callable[[], None]:
    """Captures what `body` launches on the GPU; calling the result does it again on the same memory."""
    graph = torch.cuda.CUDAGraph()
    # A stream of its own: on torch's default all graphs of a process would share one cuBLAS workspace. Other
    # threads may train other seeds on the same GPU meanwhile.
    with torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
        body()
    return graph.replay


@dataclass
class Recording:
    """Steps to be replayed, and the memory they read and write.

    Attributes:
        tables: (steps · micro-batches, …) of the draws, written before a replay.
        rates: (steps,) float32 learning rates, likewise.
        totals: loss terms summed over the steps, read after it.
    """

    tables: Tensor
    rates: Tensor
    totals: dict[str, Tensor]
    replay: Callable[[], None]


class GraphedSteps:
    """A `TrainingStep` whose steps are replayed, `STEPS` at a time where nothing is due before.

    SGD only. Equal to the step itself up to the rounding of torch's fused SGD, whose rate lies on the GPU.

    Args:
        record: turns the launches of a function into a function that repeats them.
    """

    def __init__(
        self,
        step: TrainingStep,
        record: Callable[[Callable[[], None]], Callable[[], None]] = record_cuda,
    ) -> None:
        self.step, self.record = step, record
        self.recordings: dict[int, Recording] = {}

    def __call__(self, state: TrainState, batches: Iterator[Draw], limit: int) -> StepReport:
        """Takes STEPS steps, or one where fewer are allowed."""
        steps = STEPS if limit >= STEPS else 1
        draws = list(islice(batches, steps * self.step.optim.accumulate))
        rates = [self.step.lr(state, state.step + number) for number in range(steps)]
        if steps not in self.recordings:
            with _CAPTURING:
                self.recordings[steps] = self._record(state, draws, steps)
        recording = self.recordings[steps]
        _write(recording.tables, torch.stack([draw.table for draw in draws]))
        _write(recording.rates, torch.tensor(rates))
        recording.replay()
        set_lr(state.optimizer, rates[-1])  # a number again: for reports and checkpoints
        return StepReport(recording.totals, [name for draw in draws for name in draw.ids], steps)

    def _record(self, state: TrainState, draws: list[Draw], steps: int) -> Recording:
        device, accumulate = self.step.device, self.step.optim.accumulate
        _prepare_sgd(state)
        tables = torch.stack([draw.table for draw in draws]).to(device)
        rates = torch.zeros(steps, device=device)
        static = [draw.with_table(table) for draw, table in zip(draws, tables, strict=True)]
        if not self.recordings:
            self._warm_up(state, static[:accumulate], rates[0])
        totals: dict[str, Tensor] = {}

        def body() -> None:
            totals.clear()
            for number in range(steps):
                set_lr(state.optimizer, rates[number])
                report = self.step.update(state, iter(static[number * accumulate :]))
                for name, value in report.losses.items():
                    totals[name] = totals.get(name, 0) + value

        return Recording(tables, rates, totals, self.record(body))

    def _warm_up(self, state: TrainState, draws: list[Draw], rate: Tensor) -> None:
        """Takes some steps and takes them back."""
        tensors = _changed_by_a_step(state)
        before, rng = [tensor.clone() for tensor in tensors], capture_rng()
        set_lr(state.optimizer, rate)
        with _side_stream(self.step.device):
            for _ in range(WARM_UP):
                self.step.update(state, iter(draws))
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
        restore_rng(rng)


def _prepare_sgd(state: TrainState) -> None:
    """Makes SGD read its rate on the device, and gives it the momenta it would make in its first step."""
    for group in state.optimizer.param_groups:
        group["fused"], group["foreach"] = True, False
        for parameter in group["params"]:
            values = state.optimizer.state[parameter]
            if values.get("momentum_buffer") is None:
                values["momentum_buffer"] = torch.zeros_like(parameter)


def _changed_by_a_step(state: TrainState) -> list[Tensor]:
    momenta = [values["momentum_buffer"] for values in state.optimizer.state.values()]
    average = [] if state.average is None else [state.average.steps, *state.average.averages.values()]
    return [*state.model.state_dict().values(), *momenta, *average]


def _write(target: Tensor, values: Tensor) -> None:
    """Copies to the device without waiting: the host may be launches ahead, so each has its own memory."""
    target.copy_(values.pin_memory() if target.is_cuda else values, non_blocking=True)


@contextmanager
def _side_stream(device: torch.device) -> Iterator[None]:
    """Runs the block on another stream of a GPU, as warm-ups of captures must be."""
    if device.type != "cuda":
        yield
        return
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        yield
    current.wait_stream(stream)
