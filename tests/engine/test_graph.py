"""Replayed steps. A function that runs its body again stands in for the capture where there is no GPU."""

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from engine.config import OptimConfig, RunConfig, ScheduleConfig
from engine.ema import WeightAverage
from engine.graph import STEPS, WARM_UP, GraphedSteps
from engine.loop import TrainingStep, TrainState, fit
from engine.optim import build_optimizer

OPTIM = OptimConfig(lr=0.01, batch_size=4, reference_batch=4)


@dataclasses.dataclass(frozen=True)
class Draw:
    table: Tensor

    @property
    def ids(self) -> list[str]:
        return [str(number) for number in self.table.tolist()]

    def with_table(self, table: Tensor) -> "Draw":
        return Draw(table)

    def to(self, device: torch.device) -> "Draw":
        return Draw(self.table.to(device))


def draws(start: int = 0) -> Iterator[Draw]:
    number = start
    while True:
        yield Draw(torch.arange(4) + 4 * number)
        number += 1


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1))


def losses(model: nn.Module, draw: Draw) -> dict[str, Tensor]:
    x = (draw.table.float()[:, None] / 10).sin()
    return {"loss": (model(x) - x.square()).square().mean(), "largest": x.max()}


def make(device: str = "cpu", optim: OptimConfig = OPTIM, **schedule) -> tuple[TrainState, TrainingStep]:
    model = network().to(device)
    average = None if optim.ema_decay is None else WeightAverage(model, optim.ema_decay)
    plan = ScheduleConfig(**{"total_steps": 1000, "milestones": (12, 25), **schedule})
    step = TrainingStep(
        model, losses, optim=optim, schedule=plan, run=RunConfig(), device=torch.device(device)
    )
    return TrainState(model, build_optimizer(model, optim), average=average), step


def run_again(body: Callable[[], None]) -> Callable[[], None]:
    return body


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"ema_decay": 0.9, "clip_norm": 0.1}])
def test_equal_to_the_plain_steps(options: dict):
    optim = dataclasses.replace(OPTIM, **options)
    plain, step = make(optim=optim)
    fit(plain, draws(), step, 33, [(11, lambda state: None)])
    graphed, step = make(optim=optim)
    fit(graphed, draws(), GraphedSteps(step, run_again), 33, [(11, lambda state: None)])
    assert graphed.step == graphed.loss_steps == 33
    torch.testing.assert_close(graphed.loss_sums, plain.loss_sums, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(graphed.model.state_dict(), plain.model.state_dict(), rtol=1e-5, atol=1e-6)
    if plain.average is not None and graphed.average is not None:
        torch.testing.assert_close(graphed.average.averages, plain.average.averages, rtol=1e-5, atol=1e-6)
    assert graphed.optimizer.param_groups[0]["lr"] == plain.optimizer.param_groups[0]["lr"] == 0.01 * 0.1**2


def test_no_launch_crosses_what_is_due():
    seen = []
    graphed, step = make()
    every = [(25, lambda state: seen.append(state.step)), (40, lambda state: seen.append(state.step))]
    calls = GraphedSteps(step, run_again)
    steps = []

    def counted(state: TrainState, stream: Iterator[Draw], limit: int):
        report = calls(state, stream, limit)
        steps.append(report.steps)
        assert len(report.ids) == 4 * report.steps
        return report

    fit(graphed, draws(), counted, 52, every)
    assert seen == [25, 40, 50, 52, 52]
    assert steps == [10, 10, *[1] * 5, 10, *[1] * 5, 10, 1, 1]


def test_a_step_of_another_rate_in_the_middle_of_a_launch():
    # Milestones at 12 and 25: the second launch holds both rates, as the plain steps above take them.
    rates = []
    graphed, step = make()
    real = step.update

    def noted(state: TrainState, batches: Iterator[Draw]):
        rates.append(float(state.optimizer.param_groups[0]["lr"]))
        return real(state, batches)

    step.update = noted
    fit(graphed, draws(), GraphedSteps(step, run_again), 20)
    assert rates[:WARM_UP] == [0.0] * WARM_UP
    assert rates[WARM_UP:] == pytest.approx([0.01] * 12 + [0.001] * 8)


def test_it_goes_on_from_a_checkpoint():
    whole, step = make()
    fit(whole, draws(), GraphedSteps(step, run_again), 30)
    first, step = make()
    fit(first, draws(), GraphedSteps(step, run_again), 20)
    content = first.state_dict()
    second, step = make()
    second.load_state_dict(content)
    fit(second, draws(20), GraphedSteps(step, run_again), 30)
    torch.testing.assert_close(second.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


@pytest.mark.gpu
def test_a_captured_graph_equals_the_plain_steps():
    plain, step = make("cuda")
    plain.model[2].p = step.network[2].p = 0.0  # dropout draws otherwise in a graph
    fit(plain, draws(), step, 3 * STEPS + 3)
    graphed, step = make("cuda")
    step.network[2].p = 0.0
    fit(graphed, draws(), GraphedSteps(step), 3 * STEPS + 3)
    torch.testing.assert_close(graphed.loss_sums, plain.loss_sums, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(graphed.model.state_dict(), plain.model.state_dict(), rtol=1e-4, atol=1e-5)
