"""Curves from metrics.jsonl: which charts, thinning, damaged lines."""

import json
import math
from pathlib import Path

import pytest

from foundation.errors import UserError
from reporting.learning_curves import POINTS, draw_curves, last_scores, read_entries, series


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
    assert charts.charts[0].legend == [(0, "mIoU"), (1, "pixel accuracy")]


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
