"""The figures of a step: which there are, how they are rounded, and what fits beside a bar."""

import math
import mmap
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from training.progress import step_figures
from training.progress.step_figures import (
    StepFigures,
    describe_memory,
    describe_seconds,
    resident_bytes,
    three_digits,
)

FIGURES = StepFigures(
    step=10,
    total_steps=120,
    epoch=0.8333,
    losses={"loss_a": 1.25, "loss_b": 0.5, "top1_error": 75.0},
    loss_names=frozenset({"loss_a", "loss_b"}),
    lr=0.02,
    speed=0.31416,
    seconds_left=3725.4,
    memory="RAM 1.23 GB",
)


def test_all_of_it_in_one_line_and_the_sum_of_what_is_minimised():
    assert FIGURES.line() == (
        "step 10/120  epoch 0.83  loss 1.7500  loss_a 1.2500  loss_b 0.5000  top1_error 75.0000  lr 0.02  "
        "0.314 pictures/s  ETA 1:02:05  RAM 1.23 GB"
    )


def test_one_loss_needs_no_sum_and_an_unknown_size_has_no_epoch():
    few = replace(
        FIGURES, epoch=None, losses={"loss": 1.0, "top1_error": 75.0}, loss_names=frozenset({"loss"})
    )
    few = replace(few, speed=None, seconds_left=None)
    assert few.line() == "step 10/120  loss 1.0000  top1_error 75.0000  lr 0.02  RAM 1.23 GB"


def test_the_sum_takes_no_name_of_a_term():
    losses = {"loss": 1.0, "more": 2.0}
    named = replace(FIGURES, losses=losses, loss_names=frozenset(losses))
    assert "sum 3.0000  loss 1.0000  more 2.0000" in named.line()


@pytest.mark.parametrize("columns", range(0, 140, 3))
def test_beside_a_bar_stands_what_fits_and_nothing_is_cut(columns: int):
    shown = FIGURES.beside_bar(columns)
    assert len(shown) <= columns
    whole = set(FIGURES.line().split("  "))
    assert set(filter(None, shown.split("  "))) <= whole
    if columns >= 80:
        assert {"step 10/120", "loss 1.7500", "ETA 1:02:05", "0.314 pictures/s"} <= set(shown.split("  "))


def test_with_room_all_of_it_stands_beside_the_bar():
    assert set(FIGURES.beside_bar(200).split("  ")) == set(FIGURES.line().split("  "))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123456, "0.0123"),
        (0.31416, "0.314"),
        (3.14159, "3.14"),
        (31.4159, "31.4"),
        (314.159, "314"),
        (3141.59, "3140"),
        (9.999, "10.0"),
        (999.9, "1000"),
        (0, "0"),
        (math.inf, "inf"),
    ],
)
def test_three_digits(value: float, text: str):
    assert three_digits(value) == text


def test_seconds_as_people_read_them():
    assert [describe_seconds(s) for s in (0.4, 59.6, 3725.4)] == ["0:00:00", "0:01:00", "1:02:05"]
    assert describe_seconds(86400 * 2 + 60) == "2 days, 0:01:00"


def test_memory_of_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path):
    before = resident_bytes()
    assert 50e6 < before < 50e9  # torch alone is larger than the first
    held = mmap.mmap(-1, 100_000_000)  # not of what the process has freed and keeps
    np.frombuffer(held, np.uint8)[:] = 1
    assert resident_bytes() - before > 80e6
    assert re.fullmatch(r"RAM [\d.]+ GB", describe_memory(torch.device("cpu")))
    monkeypatch.setattr(step_figures, "STATM", tmp_path / "absent")
    assert 50e6 < resident_bytes() < 50e9
    monkeypatch.setattr(step_figures, "find_spec", lambda name: None)  # Windows
    assert resident_bytes() is None and describe_memory(torch.device("cpu")) == ""


def test_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 12_345_000_000)
    assert describe_memory(torch.device("cuda", 0)) == "GPU 12.3 GB"
