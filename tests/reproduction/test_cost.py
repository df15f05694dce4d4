"""What a plan costs, worked by hand, and how steps are timed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classification.config import PretrainConfig
from foundation.errors import UserError
from reproduction import cost
from reproduction.cost import Cost, costs, plan_table, seconds_per_step
from reproduction.published.paper import TABLES
from reproduction.runs import choose_rows, plan_runs, row_config

Found = Callable[..., Any]
ROWS = TABLES["6"].rows
TINY = ["schedule.total_steps=3", "schedule.milestones=[]", "optim.batch_size=16", "run.log_every=1"]


def test_a_row_is_timed_once_and_only_if_it_has_steps_to_go(
    write_run: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    timed = []
    monkeypatch.setattr(cost, "open_split", lambda data, training: None)
    monkeypatch.setattr(
        cost, "seconds_per_step", lambda config, pictures: timed.append(config.model.name) or 2.0
    )
    write_run("plain20_cifar", overrides=TINY, top1_error=1.0)
    found = costs(plan_runs(choose_rows(ROWS, ["resnet20"]), 2, tmp_path, TINY), without_data=False)
    # Three steps of 2 s; 3 / 1000 evaluations of 10,000 / 16 · 2 / 3 s.
    seconds = 3 * 2 + 0.003 * 625 * 2 / 3
    # 269,722 parameters (He et al. 2015 print 0.27 M), 16 bytes each.
    assert found == [Cost(3, 2.0, pytest.approx(seconds / 3600), 4_315_552)] * 2
    assert timed == ["resnet20_cifar"]
    (complete,) = costs(plan_runs(choose_rows(ROWS, ["plain20"]), 1, tmp_path, TINY), without_data=False)
    assert (complete.steps, complete.step_seconds, complete.hours) == (0, 0, 0) and len(timed) == 1


def test_the_plan_adds_up(tmp_path: Path):
    planned = plan_runs(choose_rows(ROWS, ["resnet20", "plain20"]), 1, tmp_path, [])
    text = plan_table(
        planned, [Cost(10, 1.0, 1.25, 3_000_000), Cost(20, 1.0, 2.5, 4_000_000)], tmp_path / "new"
    )
    assert "about 3.75 hours" in text and "7 MB more on the disk" in text
    text = plan_table(planned, [Cost(10, 1.0, 1234.5, 0), Cost(0, 0.0, 0.0, 0)], tmp_path)
    assert "| 10 | 1 | 1,234 |" in text and "about 1,234 hours" in text


def test_steps_are_timed_without_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Found):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    rows = choose_rows(TABLES["2"].rows, ["resnet18-A"])
    small = ["data.image_size=32", "data.resize=32", "optim.batch_size=64", "run.workers=0"]
    monkeypatch.setitem(cost.CPU_PICTURES, "folder", 2)
    monkeypatch.setattr(cost, "REPORTS", 2)
    planned = plan_runs(rows, 1, tmp_path / "out", [*small, "run.device=cpu"])
    with pytest.raises(UserError, match="imagenet"):
        costs(planned, without_data=False)
    (found,) = costs(planned, without_data=True)
    # Two pictures were timed, the step has 64.
    assert found.step_seconds > 0 and found.steps == planned[0].config.schedule.total_steps
    assert "black pictures" in caplog.text
    assert not (tmp_path / "out").exists()


def test_the_time_is_scaled_to_the_batch(monkeypatch: pytest.MonkeyPatch, row_of: Found):
    taken = []

    def stand_in(config: PretrainConfig, *_: object) -> None:
        taken.append((config.optim.batch_size, config.optim.accumulate, config.schedule.total_steps))

    monkeypatch.setattr(cost, "_train_without_scores", stand_in)
    monkeypatch.setattr(cost, "pictures_per_second", lambda folder: 10.0)
    config = row_config(row_of("resnet20_cifar"), ["run.device=cpu", "optim.accumulate=2"])
    assert seconds_per_step(config, None) == 12.8  # 128 pictures at 10 a second
    assert taken == [(32, 1, 6)]
