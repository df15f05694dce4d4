"""Processes measure together and give one answer. No timing decides here."""

from pathlib import Path

import pytest

from benchmarks.scale import process_speed as module
from benchmarks.scale.process_speed import process_table
from benchmarks.scale.small_runs import TINY, answer, start
from foundation.errors import UserError


@pytest.mark.slow
def test_two_processes_give_one_answer(tmp_path: Path):
    found = answer(start("benchmarks.scale.process_speed", str(tmp_path), *TINY, processes=2))
    assert set(found) == {"training", "evaluation"}
    assert all(speed > 0 and cost > 0 for speed, cost in found.values())


def test_what_ends_with_an_error_says_why():
    with pytest.raises(UserError, match="(?s)ended with 1: .*no_module"):
        answer(start("benchmarks.scale.no_module"))


def test_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    # Two cores: twice the speed of one process is all that two processes can have, and four.
    found = {
        1: {"training": [10, 0.1], "evaluation": [40, 0.025]},
        2: {"training": [16, 0.12], "evaluation": [80, 0.025]},
        4: {"training": [12, 0.16], "evaluation": [60, 0.03]},
    }
    monkeypatch.setattr(module, "start", lambda name, folder, processes: processes)
    monkeypatch.setattr(module, "answer", found.get)
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    assert process_table(tmp_path).splitlines()[-3:] == [
        "| 1 | 10.0 | 100% | 100 | 40.0 | 100% | 25 |",
        "| 2 | 16.0 | 80% | 120 | 80.0 | 100% | 25 |",
        "| 4 | 12.0 | 60% | 160 | 60.0 | 75% | 30 |",
    ]
