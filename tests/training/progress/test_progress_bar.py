"""Bars are drawn on a terminal only, end at 100 %, and hold no more than its columns."""

import sys
from collections.abc import Callable, Iterator

import pytest

from training.progress import progress_bar
from training.progress.progress_bar import TrainingBar, watched


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[[], str]:
    """Draws as if standard error were a terminal; gives what was drawn."""
    monkeypatch.setattr(progress_bar, "shows_bars", lambda: True)
    return lambda: capsys.readouterr().err


def test_a_bar_only_where_the_main_process_has_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    items = [1, 2, 3]
    assert watched(items, 5, start=2) is items
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(watched(items, 5, start=2, title="pictures")) == items
    assert "pictures:  40%" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "1")
    assert watched(items, 5) is items


def test_the_outermost_bar_stays_and_one_within_makes_room(terminal: Callable[[], str]):
    for _ in watched([1, 2], 2, title="outside"):
        list(watched([1, 2, 3], 3, title="inside"))
    drawn = terminal()
    assert drawn.endswith("\n") and "inside: 100%" not in drawn.rpartition("\r")[2]
    assert "outside: 100%" in drawn.rpartition("\r")[2]


def test_the_bar_of_a_training_reaches_its_end_and_stays(terminal: Callable[[], str]):
    bar = TrainingBar(4, 1)
    for step in (2, 3, 4):
        bar.advance(1, lambda columns, step=step: f"step {step}")
    bar.close()
    last = terminal().rpartition("\r")[2]
    assert last.startswith("100%|██████████| step 4") and last.endswith("\n")


def test_it_is_drawn_twice_a_second_at_most(terminal: Callable[[], str], monkeypatch: pytest.MonkeyPatch):
    times: Iterator[float] = iter([0.0, 0.1, 0.4, 0.6, 0.6, 0.7, 1.2, 1.2])
    monkeypatch.setattr(progress_bar.time, "perf_counter", lambda: next(times))
    bar = TrainingBar(100, 0)
    asked = []
    for step in range(1, 6):
        bar.advance(1, lambda columns, step=step: asked.append(step) or f"step {step}")
    bar.close()
    assert asked == [3, 5]


def test_the_figures_know_how_many_columns_there_are(
    terminal: Callable[[], str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress_bar, "NO_TERMINAL_SIZE", 50)
    columns = []
    bar = TrainingBar(1, 0)
    bar.advance(1, lambda room: columns.append(room) or "x" * room)
    bar.close()
    last = terminal().rpartition("\r")[2].rstrip("\n")
    assert len(last) < 50 and last.endswith("x" * columns[0])


def test_no_terminal_no_bar(capsys: pytest.CaptureFixture):
    bar = TrainingBar(2, 0)
    bar.advance(2, lambda columns: pytest.fail("nothing to draw"))
    bar.close()
    assert capsys.readouterr().err == ""
