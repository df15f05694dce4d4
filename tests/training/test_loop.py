"""The loop and its step: order, accumulation, schedules, clipping, bad losses, exact resume."""

import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from foundation.errors import UserError
from training.loop import StepReport, StopTraining, TrainingStep, TrainState, fit
from training.optim import OptimConfig, build_optimizer
from training.schedule import ScheduleConfig


@dataclass
class Batch:
    x: Tensor
    ids: list[str]

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.x.to(device), self.ids)


def batches(start: int = 0, size: int = 4):
    """Batch k holds k·size … as numbers; endless."""
    for number in itertools.count(start):
        x = torch.arange(number * size, (number + 1) * size, dtype=torch.float32)[:, None] / 10
        yield Batch(x, [f"picture {number}"])


def squares(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    return {"square": network(batch.x).square().mean(), "mean": network(batch.x).mean() * 0.5}


def make(optim: OptimConfig | None = None, **schedule) -> tuple[TrainState, TrainingStep]:
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    optim = optim or OptimConfig(lr=0.01, batch_size=4, reference_batch=4)
    plan = ScheduleConfig(**{"total_steps": 100, **schedule})
    step = TrainingStep(
        model, squares, optim=optim, schedule=plan, device=torch.device("cpu"), precision="fp32"
    )
    return TrainState(model, build_optimizer(model, optim)), step


def test_callables_run_in_order_and_after_the_last_step():
    state, step = make()
    calls = []
    every = [(2, lambda s: calls.append(("two", s.step))), (3, lambda s: calls.append(("three", s.step)))]
    fit(state, batches(), step, 5, every)
    assert calls == [("two", 2), ("three", 3), ("two", 4), ("two", 5), ("three", 5)]


def test_losses_are_summed_for_the_report():
    state, step = make(OptimConfig(lr=1e-9, batch_size=4, reference_batch=4))
    fit(state, batches(), step, 3)
    terms = [squares(state.model, batch)["square"].item() for batch in itertools.islice(batches(), 3)]
    assert state.loss_steps == 3
    assert state.loss_sums["square"].item() == pytest.approx(sum(terms), rel=1e-4)


def test_the_step_knows_which_terms_carry_a_gradient():
    state, step = make()
    step.losses = lambda network, batch: {**squares(network, batch), "error": torch.tensor(50.0)}
    assert step.loss_names == set()
    fit(state, batches(), step, 2)
    assert step.loss_names == {"square", "mean"}
    assert state.loss_sums["error"].item() == 100


def test_stop_training_ends_it():
    state, step = make()

    def stop(state: TrainState) -> None:
        if state.step == 4:
            raise StopTraining

    fit(state, batches(), step, 10, [(2, stop)])
    assert state.step == 4


def test_one_step_by_hand():
    # w = 2, b = 1, no momentum: y = 2x + 1, loss = y², x = 1 → y = 3, dw = 2·3·1 = 6, db = 6.
    # Decay 0.1 of both: dw = 6 + 0.2, db = 6 + 0.1. lr = 0.01 · 8 / 4 = 0.02, halved by the warm-up.
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(2)
        model.bias.fill_(1)
    optim = OptimConfig(lr=0.01, batch_size=8, reference_batch=4, momentum=0, weight_decay=0.1)
    plan = ScheduleConfig(total_steps=9, warmup_steps=5, warmup_factor=0.5, warmup="constant")
    step = TrainingStep(
        model,
        lambda network, batch: {"loss": network(batch.x).square().mean()},
        optim=optim,
        schedule=plan,
        device=torch.device("cpu"),
        precision="fp32",
    )
    report = step(TrainState(model, build_optimizer(model, optim)), iter([Batch(torch.ones(1, 1), ["a"])]))
    assert report.losses["loss"].item() == 9 and report.ids == ["a"]
    assert model.weight.item() == pytest.approx(2 - 0.01 * 6.2)
    assert model.bias.item() == pytest.approx(1 - 0.01 * 6.1)


def test_the_passes_of_a_step_take_place_inside_what_is_around():
    seen = []

    @contextmanager
    def around(step: int) -> Iterator[None]:
        seen.append(f"enter {step}")
        yield
        seen.append(f"leave {step}, gradient {state.model.weight.grad is not None}")

    state, step = make(OptimConfig(lr=0.01, batch_size=8, reference_batch=4, accumulate=2))
    step.around = around
    losses = step.losses
    step.losses = lambda network, batch: seen.append("losses") or losses(network, batch)
    fit(state, batches(), step, 2)
    of_step = ["enter {}", "losses", "losses", "leave {}, gradient True"]
    assert seen == [text.format(number) for number in (0, 1) for text in of_step]


def test_accumulation_equals_the_whole_batch():
    whole, step = make(OptimConfig(lr=0.01, batch_size=8, reference_batch=8))
    fit(whole, batches(size=8), step, 3)
    parts, step = make(OptimConfig(lr=0.01, batch_size=8, reference_batch=8, accumulate=2))
    fit(parts, batches(size=4), step, 3)
    torch.testing.assert_close(parts.model.weight, whole.model.weight)
    torch.testing.assert_close(parts.loss_sums["square"], whole.loss_sums["square"])


def test_clipping_bounds_the_gradient():
    optim = OptimConfig(lr=1.0, batch_size=4, reference_batch=4, momentum=0, weight_decay=0, clip_norm=0.5)
    state, step = make(optim)
    before = torch.cat([p.detach().flatten().clone() for p in state.model.parameters()])
    step(state, batches(start=5))
    after = torch.cat([p.detach().flatten() for p in state.model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_plateau_reads_the_errors():
    optim = OptimConfig(lr=0.1, batch_size=4, reference_batch=4)
    state, step = make(optim, kind="plateau", total_steps=9, plateau_patience=0)
    state.evaluations = [(1, 5.0), (2, 6.0)]
    step(state, batches())
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


@pytest.mark.parametrize("due", [1, 100])
def test_a_loss_that_is_not_finite_stops_before_anything_is_saved(due: int):
    state, step = make()

    def bad(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        losses = squares(network, batch)
        return {**losses, "mean": losses["mean"] * (torch.nan if batch.ids == ["picture 2"] else 1)}

    step.losses = bad
    saved = []
    with pytest.raises(UserError) as refused:
        fit(state, batches(), step, 10, [(due, lambda s: saved.append(s.step))])
    text = str(refused.value)
    assert "not finite at step 3" in text and "mean nan" in text and "square " in text and "picture 2" in text
    assert saved == ([1, 2] if due == 1 else [])


def test_weights_that_are_not_finite_are_never_saved():
    # sqrt(w²) at w = 0 is finite, its gradient 0 / 0 is not.
    state, step = make()
    nn.init.zeros_(state.model.weight)
    step.losses = lambda network, batch: {"loss": network.weight.square().sum().sqrt()}
    saved = []
    with pytest.raises(
        UserError, match="weight and 0 more are not finite after step 1.*\n.*checkpoint is intact"
    ):
        fit(state, batches(), step, 5, [(1, lambda s: saved.append(s.step))])
    assert saved == []


def test_continuing_from_a_checkpoint_equals_never_stopping():
    whole, step = make()
    fit(whole, batches(), step, 10)

    first, step = make()
    fit(first, batches(), step, 4)
    torch.rand(3)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    expected = torch.rand(3)
    second, step = make()
    with torch.no_grad():
        second.model.weight.fill_(7)
    second.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert torch.equal(torch.rand(3), expected)
    fit(second, batches(start=4), step, 10)
    assert torch.equal(second.model.weight, whole.model.weight)
    assert torch.equal(second.loss_sums["square"], whole.loss_sums["square"])
    assert second.loss_steps == 10


def test_a_checkpoint_of_the_first_release_goes_on():
    state, _ = make()
    content = {name: value for name, value in state.state_dict().items() if name not in ("warm", "average")}
    state.warm = True
    state.load_state_dict(content)
    assert state.warm is False


def test_several_steps_at_once_are_named_together():
    state, _ = make()

    def bad(state: TrainState, stream: object, limit: int) -> StepReport:
        return StepReport(
            {"loss": torch.tensor(torch.inf)}, [Batch(torch.ones(1), ["a", "b"])], min(limit, 4)
        )

    with pytest.raises(UserError, match="not finite in steps 1 to 4: loss inf; pictures of the batch: a, b"):
        fit(state, [], bad, 10, [(4, lambda state: None)])


@pytest.mark.gpu
def test_a_gpu_is_told_of_bad_losses_too():
    state, _ = make()

    def bad(state: TrainState, stream: object, limit: int) -> StepReport:
        return StepReport({"loss": torch.tensor(torch.nan, device="cuda")}, [Batch(torch.ones(1), ["a"])])

    with pytest.raises(UserError, match="not finite at step 1"):
        fit(state, [], bad, 5)
