"""What is timed begins and ends where it should. No timing decides here."""

from pathlib import Path

import pytest

from benchmarks import start_speed
from benchmarks.start_speed import start_calls, take_first_step
from foundation.errors import UserError


def test_the_default_training_takes_its_first_step_and_no_other(tmp_path: Path):
    start_speed.save_starting_weights(tmp_path)
    take_first_step(str(tmp_path))
    run = tmp_path / "runs/shapes_frcnn_r18"
    assert (run / "batches/batch_1.jpg").is_file() and not (run / "checkpoint.pt").exists()


def test_a_training_that_ends_before_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(start_speed, "TRAINING", ("-c", "import sys; sys.exit('error: no weights')"))
    with pytest.raises(UserError, match="expected a first step of -c, but it ended: error: no weights"):
        take_first_step(str(tmp_path))


def test_the_rows_load_what_they_name(monkeypatch: pytest.MonkeyPatch):
    loaded: list[tuple[str, ...]] = []
    monkeypatch.setattr(start_speed, "load", lambda *modules: loaded.append(modules))
    monkeypatch.setattr(start_speed, "take_first_step", lambda folder: loaded.append(("step",)))
    for _, ours, peer in start_calls():
        ours(), peer()
    assert loaded == [("backbones",), ("torch",), ("step",), ("torch", "torch._dynamo", "torchvision")]
