"""Lengths in epochs: what they are in steps, and what contradicts them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from tests.training.conftest import Config
from training.config import RunConfig, load_config
from training.optim import OptimConfig
from training.schedule import ScheduleConfig, counts_epochs, in_steps


def config(batch_size: int, run: RunConfig | None = None, **schedule: Any) -> Config:
    optim = OptimConfig(batch_size=batch_size, accumulate=2)
    return Config(ScheduleConfig(**schedule), run or RunConfig(), optim)


def test_epochs_in_steps_by_hand():
    # 10 pictures in batches of 4 are 2.5 steps: 3 epochs are 7.5, half an epoch 1.25, 2 epochs 5.
    run = RunConfig(eval_epochs=2, checkpoint_epochs=0.5)
    before = config(4, run, epochs=3, milestone_epochs=(1.5, 2), warmup_epochs=0.1)
    after = in_steps(before, lambda: 10)
    schedule, run = after.schedule, after.run
    assert (schedule.total_steps, schedule.milestones, schedule.warmup_steps) == (8, (4, 5), 1)
    assert (run.eval_every, run.checkpoint_every) == (5, 2)
    assert not counts_epochs(after) and in_steps(after, lambda: 99) is after


def test_rounding_errors_are_no_steps():
    # 0.1 x 30 is 3.0000000000000004 in binary fractions.
    assert in_steps(config(1, epochs=0.1), lambda: 30).schedule.total_steps == 3


def test_without_epochs_nobody_counts():
    steps = config(4, total_steps=7)
    assert in_steps(steps, lambda: pytest.fail("counted")) is steps


def test_an_empty_set_has_no_epochs():
    with pytest.raises(UserError, match="training set is empty"):
        in_steps(config(4, epochs=1), lambda: 0)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"epochs": 3, "total_steps": 8}, "epochs 3 and total_steps 8 say the same in epochs and in steps"),
        ({"epochs": 3, "milestones": (5,), "milestone_epochs": (2,)}, r"milestone_epochs \[2\] and mile"),
        ({"epochs": 3, "warmup_steps": 5, "warmup_epochs": 1}, "warmup_epochs 1 and warmup_steps 5"),
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({}, "total_steps must be positive, got 0; give it, or epochs"),
        ({"epochs": 3, "kind": "cosine", "milestone_epochs": (2,)}, "milestone_epochs belong to kind step"),
        ({"epochs": 3, "warmup": "error", "warmup_epochs": 1}, "leave out warmup_epochs, got 1"),
    ],
)
def test_contradictions(schedule: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        ScheduleConfig(**schedule)


def test_evaluations_in_steps_and_in_epochs():
    with pytest.raises(ValueError, match="eval_epochs 1 and eval_every 500 say the same"):
        RunConfig(eval_epochs=1, eval_every=500)


def test_an_override_in_epochs_replaces_the_files_steps(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text("schedule: {total_steps: 90, milestones: [60]}\nrun: {eval_every: 10}\n")
    steps = load_config(Config, file)
    longer = load_config(Config, file, ["schedule.epochs=12", "run.eval_epochs=1"])
    assert longer.schedule == replace(steps.schedule, total_steps=0, epochs=12)
    assert longer.run == RunConfig(eval_epochs=1)
    assert load_config(Config, file, ["schedule.epochs=null"]) == steps
    file.write_text("schedule: {epochs: 12}\nrun: {}\n")
    assert load_config(Config, file, ["schedule.total_steps=5"]).schedule == ScheduleConfig(total_steps=5)


def test_both_overrides_contradict_each_other(tmp_path: Path):
    with pytest.raises(UserError, match=r"schedule.total_steps=5 and schedule.epochs=12 exclude each other"):
        load_config(Config, None, ["schedule.total_steps=5", "schedule.epochs=12", "run.seed=0"])
    # 1000 is the default of eval_every: given all the same.
    with pytest.raises(UserError, match=r"run.eval_every=1000 and run.eval_epochs=1 exclude each other"):
        load_config(Config, None, ["schedule.total_steps=5", "run.eval_every=1000", "run.eval_epochs=1"])
