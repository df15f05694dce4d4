import math
import random

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, ReduceLROnPlateau

from foundation.errors import UserError
from training.schedule import (
    ScheduleConfig,
    cosine_factor,
    ends_warmup,
    lr_factor,
    plateau_factor,
    step_factor,
    warmup_factor,
)


def optimizer() -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def test_linear_warmup():
    # From 0.1 to 1 in 4 steps: 0.9 / 4 = 0.225 a step.
    factors = [warmup_factor(step, 4, 0.1, "linear") for step in range(6)]
    assert factors == pytest.approx([0.1, 0.325, 0.55, 0.775, 1, 1])


def test_constant_warmup():
    assert [warmup_factor(step, 2, 0.1, "constant") for step in range(4)] == [0.1, 0.1, 1, 1]


@pytest.mark.parametrize("kind", ["linear", "constant"])
def test_no_warmup(kind):
    assert warmup_factor(0, 0, 0.1, kind) == 1


def test_steps():
    # The paper's CIFAR schedule: / 10 at 32k and 48k. Step 32,000 is the first with the lower rate.
    factors = [
        step_factor(step, (32_000, 48_000), 0.1) for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)
    ]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert step_factor(10**6, (), 0.1) == 1


def test_steps_equal_torchs():
    reference = optimizer()
    scheduler = MultiStepLR(reference, [3, 4, 9], gamma=0.5)
    for step in range(12):
        assert step_factor(step, (3, 4, 9), 0.5) == pytest.approx(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step()


def test_cosine():
    # cos 60° = 1/2: a third of the way is (1 + 1/2) / 2.
    assert [cosine_factor(step, 12) for step in (0, 4, 6, 8, 12)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    assert cosine_factor(13, 12) == cosine_factor(12, 12)


def test_cosine_equals_torchs():
    reference = optimizer()
    scheduler = CosineAnnealingLR(reference, T_max=10)
    for step in range(10):
        assert cosine_factor(step, 10) == pytest.approx(reference.param_groups[0]["lr"])
        reference.step()
        scheduler.step()


def test_poly():
    # Half way 0.5 ** 0.9; beyond the end nothing.
    config = ScheduleConfig(kind="poly", total_steps=100)
    assert [lr_factor(config, step, []) for step in (0, 50, 100, 120)] == pytest.approx([1, 0.5358867, 0, 0])
    assert lr_factor(ScheduleConfig(kind="poly", total_steps=100, power=2.0), 50, []) == 0.25


def test_plateau_by_hand():
    # Patience 1: the second evaluation in a row without a new best divides; an equal one is no new best.
    errors = [0.5, 0.4, 0.4, 0.45, 0.39, 0.4, 0.3, 0.3, 0.3]
    factors = [plateau_factor(errors[:count], 1, 0.1) for count in range(len(errors) + 1)]
    assert factors == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_plateau_equals_torchs(patience: int, seed: int):
    reference = optimizer()
    scheduler = ReduceLROnPlateau(reference, factor=0.5, patience=patience, threshold=0, eps=0)
    rng, errors = random.Random(seed), []
    for _ in range(40):
        errors.append(rng.choice([rng.random(), rng.randint(1, 4) / 4, math.nan]))  # with ties
        scheduler.step(errors[-1])
        assert plateau_factor(errors, patience, 0.5) == pytest.approx(reference.param_groups[0]["lr"])
    assert plateau_factor(errors, patience, 0.5) < 1


def test_plateau_without_patience_and_without_errors():
    assert plateau_factor([], 0, 0.1) == 1
    assert plateau_factor([1, 1], 0, 0.1) == pytest.approx(0.1)


def test_factors_multiply():
    # Step 2 of 4: warm-up 0.1 + 0.9 / 2 = 0.55; one milestone behind, x 0.1.
    config = ScheduleConfig(kind="step", total_steps=10, milestones=(1, 5), warmup_steps=4)
    assert lr_factor(config, 2, []) == pytest.approx(0.055)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cosine", 0.5),  # step 6 of 12
        ("step", 0.1),
        ("plateau", 0.01),  # 0.2 stood four times more: patience 1 exceeded twice
    ],
)
def test_each_kind_reads_its_own_settings(kind, expected: float):
    milestones = (6,) if kind == "step" else ()
    config = ScheduleConfig(kind=kind, total_steps=12, milestones=milestones, plateau_patience=1)
    errors = [0.2] * 5
    assert lr_factor(config, 6, errors) == pytest.approx(expected)
    if kind != "plateau":
        assert lr_factor(config, 6, []) == lr_factor(config, 6, errors)


def test_without_milestones_the_rate_stays():
    assert lr_factor(ScheduleConfig(total_steps=12), 11, []) == 1


def test_the_papers_warmup_of_resnet_110():
    # He et al. 2015, §4.2: 0.01 instead of 0.1 for about 400 steps.
    config = ScheduleConfig(
        total_steps=64_000,
        milestones=(32_000, 48_000),
        warmup="constant",
        warmup_factor=0.1,
        warmup_steps=400,
    )
    assert [0.1 * lr_factor(config, step, []) for step in (0, 399, 400, 32_000)] == pytest.approx(
        [0.01, 0.01, 0.1, 0.01]
    )


def test_warmup_by_error():
    # He et al. 2015, §4.2: 0.01 until the training error is below 80 %, then 0.1 by the schedule.
    plan = ScheduleConfig(
        total_steps=64_000, milestones=(32_000, 48_000), warmup="error", warmup_factor=0.1, warmup_error=80
    )
    assert [lr_factor(plan, step, []) for step in (0, 31_999)] == pytest.approx([0.1, 0.1])
    assert [lr_factor(plan, step, [], warm=True) for step in (400, 32_000)] == pytest.approx([1, 0.1])


def test_the_warmup_ends_below_the_error_and_not_at_it():
    config = ScheduleConfig(total_steps=9, warmup="error", warmup_error=80)
    reports = [{"loss": 0.0, "top1_error": error} for error in (80.0, 79.9, 90.0)]
    assert [ends_warmup(config, report) for report in reports] == [False, True, False]
    with pytest.raises(UserError, match="waits for a training error, which this training does not report"):
        ends_warmup(config, {"loss": 0.0})
