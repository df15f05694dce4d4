"""Long trainings and evaluations keep no memory of what was done; a leak of a picture a step is seen."""

from pathlib import Path

import pytest

from benchmarks.scale import resident_memory as module
from benchmarks.scale.resident_memory import after_calls, memory_table
from benchmarks.scale.small_runs import answer, start
from detection.data.shapes_scenes import ensure_coco
from pictures.shapes import FEW_CLASSES

# In processes of their own: where much was freed before, memory that leaks is no new memory for long.
MODULE = "benchmarks.scale.resident_memory"
# MB. Allocators move by a few. A picture of 64 x 64 pixels takes 49 kB as floats, 300 of them 14.7 MB.
FLAT = 7
linux = pytest.mark.skipif(not module._STATUS.is_file(), reason="only Linux says what is resident")


@linux
@pytest.mark.slow
def test_nothing_is_kept_and_a_picture_a_step_would_be_seen(tmp_path: Path):
    ensure_coco(tmp_path, FEW_CLASSES)
    asked = {
        "steps": start(MODULE, str(tmp_path), "training steps", "150,450"),
        "keeping steps": start(MODULE, str(tmp_path), "keeping training steps", "150,450"),
        "predictions": start(MODULE, str(tmp_path), "predictions", "200,600"),
    }
    found = {what: answer(process) for what, process in asked.items()}
    grown = {what: last - first for what, (first, last) in found.items()}
    assert grown["steps"] < FLAT and grown["predictions"] < FLAT, grown
    assert grown["keeping steps"] > 1.5 * FLAT, grown


def test_calls_and_marks(monkeypatch: pytest.MonkeyPatch):
    done: list[int] = []
    monkeypatch.setattr(module, "resident", lambda: 10.0 * len(done))
    assert after_calls(lambda: done.append(1), [2, 5]) == [20, 50] and len(done) == 5


def test_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module, "start", lambda name, folder, part, marks: (part, marks))
    found = {("training steps", "200,1000,2000"): [300.0, 301.04, 299.5]}
    monkeypatch.setattr(module, "answer", lambda asked: found.get(asked, [250.0, 260.0, 270.25]))
    assert memory_table(tmp_path).splitlines()[2:] == [
        "| training steps: after 200, 1,000, 2,000 | 300.0, 301.0, 299.5 | -0.5 |",
        "| predictions: after 1,000, 5,000, 10,000 | 250.0, 260.0, 270.2 | +20.2 |",
    ]
