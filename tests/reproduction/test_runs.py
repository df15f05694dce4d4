"""Rows by name, and plans of trainings from what their folders hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from foundation.errors import UserError
from reproduction.published.paper import TABLES
from reproduction.runs import choose_rows, plan_runs

Found = Callable[..., Any]
ROWS = TABLES["6"].rows
TINY = ["schedule.total_steps=3", "schedule.milestones=[]", "optim.batch_size=16", "run.log_every=1"]


def test_rows_are_called_by_network(row_of: Found):
    chosen = choose_rows(ROWS, ["plain20", "ResNet20", "resnet110_cifar"])
    assert [row.key for row in chosen] == ["resnet20_cifar", "resnet110_cifar", "plain20_cifar"]
    assert [row.key for row in choose_rows(TABLES["3"].rows, ["resnet34-b"])] == ["resnet34-B"]
    everything = choose_rows(ROWS, [])
    assert len(everything) == 13 and all(row.config for row in everything)


def test_plan(write_run: Found, tmp_path: Path):
    write_run("plain20_cifar", 0, overrides=TINY, top1_error=1.0)
    begun = write_run("resnet20_cifar", 1, overrides=TINY)
    torch.save({"step": 2}, begun / "checkpoint.pt")
    write_run("plain20_cifar", 1, overrides=TINY)  # killed before its first checkpoint
    planned = plan_runs(choose_rows(ROWS, ["resnet20", "plain20"]), 2, tmp_path, TINY)
    assert [(run.folder.name, run.state, run.steps_to_go()) for run in planned] == [
        ("resnet20_cifar_seed0", "missing", 3),
        ("plain20_cifar_seed0", "complete", 0),
        ("resnet20_cifar_seed1", "begun", 1),
        ("plain20_cifar_seed1", "begun", 3),
    ]
    assert [run.config.run.seed for run in planned] == [0, 0, 1, 1]
    assert planned[0].config.optim.batch_size == 16


def test_a_plan_of_several_at_once_keeps_the_seeds_of_a_row_together(tmp_path: Path):
    planned = plan_runs(choose_rows(ROWS, ["resnet20", "plain20"]), 2, tmp_path, TINY, together=2)
    assert [(run.row.key, run.seed) for run in planned] == [
        *(("resnet20_cifar", 0), ("resnet20_cifar", 1)),
        *(("plain20_cifar", 0), ("plain20_cifar", 1)),
    ]
    with pytest.raises(UserError, match="highway19_cifar has dropout"):
        plan_runs(choose_rows(ROWS, ["highway19"]), 2, tmp_path, TINY, together=2)


def test_a_table_in_small(tmp_path: Path):
    rows = choose_rows(TABLES["identity2"].rows, [])
    planned = plan_runs(rows, 1, tmp_path, TINY, depths=["110=20", "164=29"])
    assert [run.config.model.name for run in planned[:5]] == ["resnet20_cifar"] * 4 + [
        "preact_resnet20_cifar"
    ]
    assert [run.config.model.name for run in planned[5:]] == ["resnet29_cifar"] * 4 + [
        "preact_resnet29_cifar"
    ]
    assert planned[6].config.model.bottlenecks and planned[6].config.model.unit == "bn_after_addition"
    assert planned[6].folder.name == "resnet164_cifar-bn-after-addition_seed0"
    others = choose_rows(TABLES["identity1"].rows, ["resnet110-scaled-0-1", "resnet110_cifar-dropout"])
    (run, _) = plan_runs(others, 1, tmp_path, TINY)
    assert (run.config.model.name, run.config.model.scaling) == ("resnet110_cifar", (0, 1))
    with pytest.raises(UserError, match="resnet110_cifar has dropout"):
        plan_runs(others, 2, tmp_path, TINY, together=2)


def test_free_keys_may_change(write_run: Found, tmp_path: Path):
    write_run("plain20_cifar", overrides=["run.workers=7", "run.device=cuda"], top1_error=1.0)
    (run,) = plan_runs(choose_rows(ROWS, ["plain20"]), 1, tmp_path, ["run.device=cpu"])
    assert run.state == "complete"
