"""Least scores by number and by file, and what reaches them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from detection.charts.operating_points import Goal, choose_operating_point
from detection.charts.score_thresholds import at_least, read_thresholds
from detection.metrics.conventions import ClassMatches
from detection.types import Prediction
from foundation.errors import UserError

CLASSES = ["ape", "bee"]


def test_a_number_is_of_all_classes():
    for given in (0.25, "0.25"):
        assert read_thresholds(given, "threshold").of(CLASSES).tolist() == [0.25, 0.25]


def test_a_chosen_operating_point(tmp_path: Path, ape: ClassMatches, bee: ClassMatches):
    point = choose_operating_point([ape, bee], CLASSES, Goal("f1"), 0.5)
    (tmp_path / "point.json").write_text(json.dumps(point))
    for given in (tmp_path / "point.json", str(tmp_path / "point.json")):
        assert read_thresholds(given, "threshold").of(CLASSES).tolist() == [0.6, 0.4]


def test_what_reaches_the_score_of_its_class():
    boxes, labels = torch.arange(16.0).view(4, 4), torch.tensor([1, 2, 1, 2])
    masks: Any = ["a", "b", "c", "d"]
    found = Prediction(boxes, labels, torch.tensor([0.7, 0.6, 0.5, 0.3]), 7, masks)
    # In float32 0.7 and 0.3 lie on either side of the numbers in the file; they reach them all the same.
    kept = at_least(found, torch.tensor([0.7, 0.3], dtype=torch.float64))
    assert kept.boxes[:, 0].tolist() == [0, 4, 12] and kept.labels.tolist() == [1, 2, 2]
    assert kept.masks == ["a", "b", "d"] and kept.image_id == 7
    assert len(at_least(found, torch.tensor([1.0, 1.0])).boxes) == 0


@pytest.mark.parametrize("given", [1.5, -0.1, float("nan"), "50"])
def test_no_probability(given: float | str):
    with pytest.raises(UserError, match=f"--threshold must be a probability from 0 to 1, got {given}"):
        read_thresholds(given, "--threshold").of(CLASSES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            [{"name": "ape", "threshold": 0.5}],
            "class 2 is none there, 'bee' in the detector; choose",
        ),
        (
            [{"name": "bee", "threshold": 0.5}, {"name": "ape", "threshold": 0.5}],
            "is of other classes: class 1 is 'bee' there, 'ape' in the detector",
        ),
        (
            [{"name": "ape"}, {"name": "bee"}],
            "has no classes with a name and a threshold each; expected what",
        ),
        (
            [{"name": "ape", "threshold": None}],
            "threshold of ape must be a probability from 0 to 1, got None",
        ),
        ([{"name": "ape", "threshold": 1.5}], "threshold of ape must be a probability from 0 to 1, got 1.5"),
        ("ape", "has no classes with a name and a threshold each"),
    ],
)
def test_files_refused(tmp_path: Path, content: Any, message: str):
    (tmp_path / "point.json").write_text(json.dumps({"classes": content}))
    with pytest.raises(UserError, match=message):
        read_thresholds(tmp_path / "point.json", "threshold").of(CLASSES)
    (tmp_path / "point.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="has no classes with a name and a threshold each"):
        read_thresholds(tmp_path / "point.json", "threshold").of(CLASSES)


def test_no_file(tmp_path: Path):
    with pytest.raises(
        UserError, match="--threshold must be a probability from 0 to 1, or a file: what tools/"
    ):
        read_thresholds("0,5", "--threshold")
    (tmp_path / "point.json").write_text("{")
    with pytest.raises(UserError, match="or a file"):
        read_thresholds(tmp_path / "point.json", "--threshold").of(CLASSES)
