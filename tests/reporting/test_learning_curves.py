"""Curves from metrics.jsonl: which charts, thinning, damaged lines."""

import json
import math
import re
from pathlib import Path

import pytest

from foundation.errors import UserError
from reporting.learning_curves import (
    OTHER_LOSSES,
    POINTS,
    draw_curves,
    draw_together,
    last_scores,
    read_entries,
    series,
)


def write(folder: Path, *lines: str) -> Path:
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder / "metrics.jsonl"


def test_damaged_lines_are_left_out_and_counted(tmp_path: Path):
    good = json.dumps({"step": 1, "loss": 2.0})
    entries, notes = read_entries(write(tmp_path, good, '{"step": 2, "lo', '{"loss": 1}', "7", good))
    assert [entry["loss"] for entry in entries] == [2.0, 2.0]
    assert [note.text for note in notes] == [
        "3 of 5 lines of metrics.jsonl are damaged and left out of the curves."
    ]
    entries, notes = read_entries(tmp_path / "none.jsonl")
    assert entries == [] and notes[0].text == "No curves: there is no none.jsonl in the folder."
    assert draw_curves(entries) == []


def test_charts_of_a_classifier_and_of_a_detector():
    classifier = [{"step": 1, "loss": 2.0, "top1_error": 50.0, "lr": 0.1}]
    classifier += [{"step": 2, "val/loss": 1.0, "val/top1_error": 40.0}]
    (charts,) = draw_curves(classifier)
    assert [chart.title for chart in charts.charts] == ["Loss", "Top-1 error", "Learning rate"]
    detector = [{"step": 1, "loss_rpn_box": 2.0, "loss_roi_box": 1.0, "lr": 0.1}]
    detector += [{"step": 2, "val/AP": 0.4, "val/AP50": 0.6, "val/segm/AP": None, "val/AR1": 0.1}]
    (charts,) = draw_curves(detector)
    losses, scores, _ = charts.charts
    assert losses.legend == [(0, "their sum"), (1, "loss rpn box"), (2, "loss roi box")]
    assert scores.legend == [(0, "AP"), (1, "AP50"), (2, "AP of masks")]
    (charts,) = draw_curves(
        [{"step": 2, "val/mIoU": 0.4, "val/pixel_accuracy": 0.9, "val/mean_accuracy": 0.5}]
    )
    assert charts.charts[0].legend == [(0, "mean IoU"), (1, "pixel accuracy")]

    (charts,) = draw_curves([{"step": 2, "val/oracle_error": 0.4, "val/whole_picture_error": 0.9}])
    assert [chart.title for chart in charts.charts] == ["Validation errors"]
    assert charts.charts[0].legend == [(0, "error with the true class")]


def test_runs_together():
    one = [{"step": 1, "loss": 3.0, "loss_aux": 1.0, "lr": 0.1}, {"step": 2, "val/mIoU": 0.25}]
    other = [{"step": 1, "loss": 4.0}, {"step": 2, "val/mIoU": 0.5}]
    ((validation, losses),) = (charts.charts for charts in draw_together({"A": one, "B": other}, "mIoU"))
    assert (validation.title, losses.title) == ("Validation: mean IoU", "Sum of the training losses")
    assert validation.legend == losses.legend == [(0, "A"), (1, "B")] and losses.note == OTHER_LOSSES
    # Both sums are 4 at step 1, so that both lines are one dot in the same place.
    dots = re.findall(r'<circle class="dot (s\d)" cx="([^"]*)" cy="([^"]*)"', losses.svg)
    assert [name for name, *_ in dots] == ["s0", "s1"] and dots[0][1:] == dots[1][1:]
    assert draw_together({"A": one, "evaluation": []}, "mIoU") == []
    ((validation, _),) = (
        charts.charts
        for charts in draw_together({"A": [{"step": 1, "val/top1_error": 40}]} | {"B": one}, "top1_error")
    )
    assert (validation.title, validation.legend) == ("Validation: top-1 error", [(0, "A")])


def test_of_more_runs_than_colours_the_last_are_grey():
    runs = {f"r{number}": [{"step": 1, "val/AP": number / 10, "loss": 1}] for number in range(9)}
    (charts,) = draw_together(runs, "AP")
    validation, losses = charts.charts
    assert len(validation.legend) == 7 and validation.note == "Grey are the other 2."
    assert losses.note == f"Grey are the other 2. {OTHER_LOSSES}"
    assert validation.svg.count('class="line other"') == 2


def test_long_curves_are_averaged_in_groups():
    entries = [{"step": step, "loss": float(step % 2)} for step in range(10 * POINTS)]
    steps, values = series(entries, "loss")
    assert len(steps) == POINTS and set(values) == {0.5} and steps[0] == 4.5
    validation = [{"step": step, "val/AP": 0.5} for step in range(2 * POINTS)]
    assert len(series(validation, "val/AP", 100)[0]) == 2 * POINTS
    assert series(validation, "val/AP", 100)[1][0] == 50
    assert math.isnan(series([{"step": 1, "val/AP": None}], "val/AP")[1][0])


def test_last_scores():
    entries = [
        {"step": 1, "val/AP": 0.1},
        {"step": 2, "val/AP": 0.2, "val/segm/AP": 0.3},
        {"step": 3, "lr": 1},
    ]
    assert last_scores(entries) == (2, {"AP": 0.2, "segm/AP": 0.3})
    with pytest.raises(UserError, match="has not been evaluated yet; wait for its first evaluation"):
        last_scores(entries[2:])
