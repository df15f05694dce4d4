"""Trainings whose length is given in epochs are those in steps, and may be made longer likewise."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

STEPS = ["schedule.kind=step", "schedule.total_steps=8", "schedule.milestones=[6]", "run.eval_every=4"]
EPOCHS = ["schedule.kind=step", "schedule.epochs=2", "schedule.milestone_epochs=[1.5]", "run.eval_epochs=1"]


def small(options: list[str]) -> list[str]:
    """Options without what they say of the length."""
    return [option for option in options if not option.startswith(("schedule.total_steps", "run.eval"))]


def test_a_detector_trained_for_epochs(tool: Callable, tiny_detector: list[str], tmp_path: Path):
    """8 pictures in batches of 2 are 4 steps an epoch."""
    options = ["run.workers=0", "data.train=train", "data.val=val", *small(tiny_detector)]
    tool("train_det", "--out", tmp_path / "steps", *options, *STEPS)
    tool("train_det", "--out", tmp_path / "epochs", *options, *EPOCHS)
    for name in ("config.yaml", "metrics.jsonl", "last.safetensors", "result.json"):
        assert (tmp_path / "epochs" / name).read_bytes() == (tmp_path / "steps" / name).read_bytes(), name

    tool("train_det", "--out", tmp_path / "epochs", "--resume", *options, *EPOCHS, "schedule.epochs=2.5")
    written = yaml.safe_load((tmp_path / "epochs" / "config.yaml").read_text())
    assert (written["schedule"]["total_steps"], written["schedule"]["epochs"]) == (10, None)
    assert '"step": 10' in (tmp_path / "epochs" / "result.json").read_text()


def test_a_classifier_trained_for_an_epoch(
    tool: Callable,
    refused: Callable,
    tiny_classifier: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    """The 1,600 training pictures of Shapes are 200 batches of 8."""
    options = ["--out", tmp_path / "run", *small(tiny_classifier), "run.workers=0"]
    short = [*options, "schedule.epochs=0.03", "run.eval_epochs=0.015"]
    caplog.set_level("INFO")
    tool("pretrain", *short)
    assert "6 steps of 8 pictures are 0.03 epochs of 1600; evaluation every 3 steps" in caplog.text
    tool("pretrain", "--resume", *short)  # it has ended: nothing happens
    message = refused("pretrain", "--overwrite", *short, "schedule.total_steps=6")
    assert "schedule.total_steps=6 and schedule.epochs=0.03 exclude each other" in message
