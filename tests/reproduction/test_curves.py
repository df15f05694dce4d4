"""Curves of metrics.jsonl, and the windows over which training errors are averaged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from reproduction.curves import Curves, Point, epoch_steps, read_curves, window_steps
from reproduction.runs import row_config

Found = Callable[..., Any]


def test_curves_are_read(tmp_path: Path):
    file = tmp_path / "metrics.jsonl"
    file.write_text(
        '{"step": 2, "top1_error": 90.0, "lr": 1}\n{"step": 2, "val/top1_error": 80.0}\n{"step": 4}\n'
    )
    assert read_curves(file) == Curves([Point(2, 90.0)], [Point(2, 80.0)])
    assert read_curves(tmp_path / "absent") == Curves([], [])


def test_windows_of_the_training_error():
    # Reports of 4, 4, 2 and 4 steps; windows of at least 6 end at 8 and 14.
    curves = Curves([Point(4, 10.0), Point(8, 20.0), Point(10, 40.0), Point(14, 10.0)], [])
    assert curves.training(6) == [Point(4.0, 15.0), Point(11.0, 20.0)]
    assert curves.training(100) == []
    assert curves.final_training_error(6) == pytest.approx((2 * 40 + 4 * 10) / 6)
    assert curves.final_training_error(5) == 10.0
    assert curves.final_training_error(1) == 10.0, "the last report, though longer"
    assert Curves([], []).final_training_error(6) is None


def test_epochs_and_windows(row_of: Found):
    full, short = (row_config(row_of("resnet20_cifar"), o) for o in ([], ["schedule.total_steps=1600"]))
    assert epoch_steps(full) == 50_000 / 128 == window_steps(full)
    assert window_steps(short) == 40
    imagenet = row_of("resnet50", "3")
    assert epoch_steps(row_config(imagenet)) == 1_281_167 / 256
    assert epoch_steps(row_config(imagenet, ["data.root=other"])) is None


@pytest.mark.parametrize("content", [b"{", b"\xff\n", b"[" * 10**5])
def test_damaged_metrics_are_named(tmp_path: Path, content: bytes):
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics.jsonl: is .*; its curve cannot be drawn"):
        read_curves(tmp_path / "metrics.jsonl")
