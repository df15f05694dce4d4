"""Replayed steps. A function that runs its body again stands in for the capture where there is no GPU.

A stricter one, which repeats operations on the same memory, is in
tests/detection/model/test_detector_graph.py.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from itertools import cycle, islice

import pytest
import torch
from torch import Tensor, nn

from foundation.errors import UserError
from training import graph
from training.graph import STEPS, WARM_UP, GraphedFunction, GraphedSteps, require_capturable
from training.loop import TrainingStep, TrainState, fit
from training.optim import OptimConfig, WeightAverage, build_optimizer
from training.schedule import ScheduleConfig

OPTIM = OptimConfig(lr=0.01, batch_size=4, reference_batch=4)
CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Draw:
    """A table of numbers, whose ids stand in it, as those of `labelled_batches.DrawnBatch`."""

    table: Tensor
    read: list[list[str]] = dataclasses.field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        self.read.append([str(number) for number in self.table.tolist()])
        return self.read[-1]

    def to(self, device: torch.device) -> "Draw":
        return Draw(self.table.to(device))


def draws(start: int = 0) -> Iterator[Draw]:
    number = start
    while True:
        yield Draw(torch.arange(4) + 4 * number)
        number += 1


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A micro-batch of a loader."""

    table: Tensor
    ids: list[str]
    weights: Tensor | None = None

    def to(self, device: torch.device) -> "Loaded":
        weights = None if self.weights is None else self.weights.to(device)
        return Loaded(self.table.to(device), self.ids, weights)


def loaded(start: int = 0) -> Iterator[Loaded]:
    """Of three sizes in turn, the last with another tensor besides."""
    number = start
    while True:
        size = 2 + number % 3
        weights = torch.full((size,), 0.5) if size == 4 else None
        yield Loaded(torch.arange(size) + 4 * number, [f"{number}"], weights)
        number += 1


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1))


def losses(model: nn.Module, draw: Draw | Loaded) -> dict[str, Tensor]:
    x = (draw.table.float()[:, None] / 10).sin()
    error = (model(x) - x.square()).square()
    if isinstance(draw, Loaded) and draw.weights is not None:
        error = error * draw.weights[:, None]
    return {"loss": error.mean(), "largest": x.max()}


def make(device: str = "cpu", optim: OptimConfig = OPTIM, **schedule) -> tuple[TrainState, TrainingStep]:
    model = network().to(device)
    average = None if optim.ema_decay is None else WeightAverage(model, optim.ema_decay)
    plan = ScheduleConfig(**{"total_steps": 1000, "milestones": (12, 25), **schedule})
    step = TrainingStep(
        model, losses, optim=optim, schedule=plan, device=torch.device(device), precision="fp32"
    )
    return TrainState(model, build_optimizer(model, optim), average=average), step


class RunAgain:
    """Counts the captures it stands in for."""

    def __init__(self) -> None:
        self.captured = 0

    def __call__(self, body: Callable[[], None]) -> Callable[[], None]:
        self.captured += 1
        return body


def assert_equal(graphed: TrainState, plain: TrainState) -> None:
    assert graphed.step == graphed.loss_steps == plain.step
    torch.testing.assert_close(graphed.loss_sums, plain.loss_sums, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(graphed.model.state_dict(), plain.model.state_dict(), rtol=1e-4, atol=1e-5)
    if plain.average is not None and graphed.average is not None:
        torch.testing.assert_close(graphed.average.averages, plain.average.averages, rtol=1e-4, atol=1e-5)


OPTIONS = pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"ema_decay": 0.9, "clip_norm": 0.1}])


@OPTIONS
def test_equal_to_the_plain_steps(options: dict):
    optim, again = dataclasses.replace(OPTIM, **options), RunAgain()
    plain, step = make(optim=optim)
    fit(plain, draws(), step, 33, [(11, lambda state: None)])
    graphed, step = make(optim=optim)
    fit(graphed, draws(), GraphedSteps(step, again, steps=2), 33, [(11, lambda state: None)])
    assert_equal(graphed, plain)
    assert again.captured == 1  # launches of two steps; of one there were three
    assert graphed.optimizer.param_groups[0]["lr"] == plain.optimizer.param_groups[0]["lr"] == 0.01 * 0.1**2


@OPTIONS
def test_one_capture_for_every_shape_of_batch(options: dict):
    # With two micro-batches a step the shapes are 2 and 3, 4 and 2, 3 and 4: three as well.
    optim, again = dataclasses.replace(OPTIM, **options), RunAgain()
    plain, step = make(optim=optim)
    fit(plain, loaded(), step, 30)
    graphed, step = make(optim=optim)
    fit(graphed, loaded(), GraphedSteps(step, again, steps=1), 3 * WARM_UP)
    assert again.captured == 0
    graphed, step = make(optim=optim)
    fit(graphed, loaded(), GraphedSteps(step, again, steps=1), 30)
    assert_equal(graphed, plain)
    assert again.captured == 3


def test_more_shapes_than_are_captured(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(graph, "MOST_RECORDINGS", 2)
    caplog.set_level(logging.INFO, "training.graph")
    plain, step = make()
    fit(plain, loaded(), step, 30)
    graphed, step = make()
    again = RunAgain()
    fit(graphed, loaded(), GraphedSteps(step, again, steps=1), 30)
    assert_equal(graphed, plain)
    assert again.captured == 2
    assert caplog.messages == ["run.cuda_graph: 2 shapes are captured; others run as they are"]


def test_ids_are_those_of_the_batches_given():
    state, step = make()
    call = GraphedSteps(step, RunAgain(), steps=1)
    assert [call(state, loaded(number), 1).ids for number in range(18)] == [[str(n)] for n in range(18)]


def test_ids_are_not_read_from_a_table_on_the_device():
    state, step = make()
    call, read, ids = GraphedSteps(step, RunAgain(), steps=2), [], []
    stream = [dataclasses.replace(draw, read=read) for draw in islice(draws(), 2 * (WARM_UP + 2))]
    for start in range(0, len(stream), 2):
        report = call(state, iter(stream[start:]), 2)
        assert read == []
        ids += report.ids
        read.clear()
    assert ids == [str(number) for number in range(4 * len(stream))]


def test_no_launch_crosses_what_is_due():
    seen = []
    graphed, step = make()
    every = [(25, lambda state: seen.append(state.step)), (40, lambda state: seen.append(state.step))]
    calls = GraphedSteps(step, RunAgain())
    steps = []

    def counted(state: TrainState, stream: Iterator[Draw], limit: int):
        report = calls(state, stream, limit)
        steps.append(report.steps)
        assert len(report.ids) == 4 * report.steps
        return report

    fit(graphed, draws(), counted, 52, every)
    assert seen == [25, 40, 50, 52, 52]
    assert steps == [10, 10, *[1] * 5, 10, *[1] * 5, 10, 1, 1]


def test_a_step_of_another_rate_in_the_middle_of_a_launch(monkeypatch: pytest.MonkeyPatch):
    # Milestones at 12 and 25: the second launch holds both rates, as the plain steps above take them.
    rates = []
    graphed, step = make()
    real = TrainingStep.__call__

    def noted(step: TrainingStep, state: TrainState, batches: Iterator[Draw], *, lr: Tensor):
        rates.append(float(lr))
        return real(step, state, batches, lr=lr)

    monkeypatch.setattr(TrainingStep, "__call__", noted)
    fit(graphed, draws(), GraphedSteps(step, RunAgain()), 20)
    assert rates == pytest.approx([0.01] * 12 + [0.001] * 8)


@pytest.mark.parametrize("source", [draws, loaded])
def test_it_goes_on_from_a_checkpoint(source: Callable[[int], Iterator]):
    whole, step = make()
    fit(whole, source(0), GraphedSteps(step, RunAgain(), steps=1), 30)
    first, step = make()
    fit(first, source(0), GraphedSteps(step, RunAgain(), steps=1), 20)
    content = first.state_dict()
    second, step = make()
    second.load_state_dict(content)
    fit(second, source(20), GraphedSteps(step, RunAgain(), steps=1), 30)
    torch.testing.assert_close(second.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


def test_a_function_is_captured_for_every_shape_and_type():
    again = RunAgain()
    double = GraphedFunction(lambda batch, number: batch.table * number, CPU, again)
    for _ in range(WARM_UP + 2):
        for table in (torch.ones(2), torch.ones(3), torch.ones(3, dtype=torch.float64)):
            batch = Loaded(table, [])
            given = double(batch, torch.tensor(2.0))
            assert torch.equal(given, 2 * table) and given.dtype == table.dtype
    assert again.captured == 3


def test_what_is_given_is_copied_before_it_is_used():
    memory = []
    keep = GraphedFunction(lambda x: memory.append(x.data_ptr()) or x.clone(), CPU, RunAgain())
    for value in islice(cycle([1.0, 2.0]), WARM_UP + 4):
        given = torch.full((1000,), value)
        assert keep(given).eq(value).all() and memory[-1] != given.data_ptr()
    assert len(set(memory[WARM_UP:])) == 1  # what a replay reads stays where it is


@pytest.mark.parametrize(
    ("device", "optimizer", "recompute", "found"),
    [
        ("cpu", "sgd", False, "the training is on cpu"),
        ("cuda", "lamb", False, "optim.kind is lamb"),
        ("cuda", "sgd", True, "run.recompute is on"),
    ],
)
def test_what_cannot_be_captured_is_named(device: str, optimizer: str, recompute: bool, found: str):
    require_capturable("sgd", torch.device("cuda"), recompute=False)
    with pytest.raises(
        UserError, match=f"needs one process, a CUDA GPU, SGD .*, but {found}; use run.cuda_graph"
    ):
        require_capturable(optimizer, torch.device(device), recompute=recompute)


@pytest.mark.gpu
@OPTIONS
def test_a_captured_graph_equals_the_plain_steps(options: dict):
    optim = dataclasses.replace(OPTIM, **options)
    plain, step = make("cuda", optim)
    plain.model[2].p = step.network[2].p = 0.0  # dropout draws otherwise in a graph
    fit(plain, draws(), step, (WARM_UP + 3) * STEPS + WARM_UP + 3)
    graphed, step = make("cuda", optim)
    step.network[2].p = 0.0
    calls = GraphedSteps(step)
    fit(graphed, draws(), calls, (WARM_UP + 3) * STEPS + WARM_UP + 3)
    assert calls.launch is not None and len(calls.launch.recordings) == 2
    torch.testing.assert_close(graphed.loss_sums, plain.loss_sums, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(graphed.model.state_dict(), plain.model.state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_captured_graphs_of_several_shapes_equal_the_plain_steps():
    plain, step = make("cuda")
    step.network[2].p = 0.0
    fit(plain, loaded(), step, 3 * (WARM_UP + 5))
    graphed, step = make("cuda")
    step.network[2].p = 0.0
    calls = GraphedSteps(step, steps=1)
    fit(graphed, loaded(), calls, 3 * (WARM_UP + 5))
    assert calls.launch is not None and len(calls.launch.recordings) == 3
    torch.testing.assert_close(graphed.loss_sums, plain.loss_sums, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(graphed.model.state_dict(), plain.model.state_dict(), rtol=1e-3, atol=1e-4)
