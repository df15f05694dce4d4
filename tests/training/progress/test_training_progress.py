"""Bar and figures of a training together, on a training of six steps."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.conftest import small_config
from training.loop import StepReport, TrainState
from training.progress.training_progress import TrainingProgress


@pytest.fixture
def state() -> TrainState:
    model = nn.Linear(1, 1)
    return TrainState(model, torch.optim.SGD(model.parameters(), lr=0.5))


def progress_of(step: int = 0, pictures: int = 4) -> TrainingProgress:
    return TrainingProgress(
        small_config(6),
        step,
        pictures,
        loss_names={"loss_a", "loss_b"},
        device=torch.device("cpu"),
        evaluation_guess=0.0,
    )


def take(state: TrainState, batches: Iterator[Any], limit: int) -> StepReport:
    steps = min(limit, 2)
    values = {"loss_a": 1.0, "loss_b": 2.0, "error": 50.0}
    return StepReport({name: torch.tensor(value * steps) for name, value in values.items()}, [], steps)


def walk(progress: TrainingProgress, state: TrainState) -> None:
    counted = progress.counted(take)
    while state.step < 6:
        state.step += counted(state, iter([]), 6 - state.step).steps


def test_the_report_on_the_steps_since_the_last(state: TrainState, monkeypatch: pytest.MonkeyPatch):
    progress = progress_of()
    clock = iter([0.0, 10.0, 14.0, 20.0])
    progress.clock.clock = lambda: next(clock)
    progress.clock._last = next(clock)
    walk(progress, state)
    line, speed = progress.report(state, {"loss_a": 1.0, "loss_b": 2.0, "error": 50.0})
    assert speed == 6 / 20  # batches of one picture
    assert line.startswith("step 6/6  epoch 1.50  loss 3.0000  loss_a 1.0000  loss_b 2.0000  error 50.0000")
    assert "  lr 0.5  0.300 pictures/s  ETA 0:00:00  RAM " in line


def test_on_a_terminal_the_bar_counts_steps_to_the_end(
    state: TrainState, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = progress_of(step=2)
    state.step = 2
    with progress.shown():
        walk(progress, state)
    last = capsys.readouterr().err.rpartition("\r")[2]
    assert last.startswith("100%|██████████| step 6/6  loss 3.0000  ETA 0:00:00  ") and last.endswith("\n")


def test_without_a_terminal_nothing_is_drawn(state: TrainState, capsys: pytest.CaptureFixture):
    progress = progress_of()
    with progress.shown():
        walk(progress, state)
    assert capsys.readouterr().err == ""


def test_an_evaluation_says_where_and_how_it_stands(state: TrainState):
    progress = progress_of()
    walk(progress, state)
    first = progress.describe_scores({"AP": 0.5}, {}, 6, per_cent=True)
    assert first.splitlines() == [
        "evaluation at step 6/6, epoch 1.50: the best so far",
        "  in %      now",
        "  AP      50.00",
    ]
    earlier = {2: {"AP": 0.6}, 4: {"AP": 0.4}}
    later = progress.describe_scores({"AP": 0.5}, earlier, 2, per_cent=True)
    assert later.splitlines() == [
        "evaluation at step 6/6, epoch 1.50: the best so far was at step 2",
        "  in %      now   change     best",
        "  AP      50.00   +10.00    60.00",
    ]


def test_the_time_it_took_and_an_unknown_epoch():
    progress = progress_of(pictures=0)
    assert progress.describe_time() == "step 0/6: took 0:00:00"
