"""A training killed at random steps and continued ends bit-equal to one that was never killed."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

KINDS = {
    "pretrain": ("tiny_classifier", 12),
    "train_det": ("tiny_detector", 8),
    "train_loc": ("tiny_localizer", 8),
    "train_seg": ("tiny_segmenter", 8),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", KINDS)
def test_killed_and_continued_equals_never_killed(
    name: str,
    workers: int,
    start: Callable,
    kill_at: Callable,
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    fixture, total = KINDS[name]
    options = [*request.getfixturevalue(fixture), f"run.workers={workers}"]
    options += ["optim.ema_decay=0.9"] if workers else []
    assert start(name, "--out", tmp_path / "whole", *options).wait() == 0

    steps = sorted(random.Random(workers).sample(range(1, total), 2))
    killed = tmp_path / "killed"
    kill_at(start(name, "--out", killed, *options), steps[0])
    assert not (killed / "result.json").exists()
    kill_at(start(name, "--out", killed, "--resume", *options), steps[1])
    assert start(name, "--out", killed, "--resume", *options).wait() == 0

    files = ["metrics.jsonl", "result.json", "best.safetensors", "last.safetensors"]
    files += ["per_picture.npz"] if name in ("train_loc", "train_seg") else []
    for file in files:
        assert (killed / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
