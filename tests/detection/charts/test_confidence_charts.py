"""Precision, recall and F1 at least scores, by hand (conftest.py says what is left of either class)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.charts.confidence_charts import confidence_table, draw_confidence
from detection.metrics.conventions import ClassMatches

CLASSES = ["ape", "bee"]


def at(of: dict[str, Any], table: dict[str, Any], threshold: float) -> tuple:
    place = int(np.argmin(np.abs(np.array(table["thresholds"]) - threshold)))
    return tuple(of[measure][place] for measure in ("precision", "recall", "f1"))


def test_each_class(ape: ClassMatches, bee: ClassMatches):
    table = confidence_table([ape, bee], CLASSES)
    apes, bees = table["classes"]
    assert (apes["name"], apes["objects"], bees["name"], bees["objects"]) == ("ape", 4, "bee", 2)
    assert len(table["thresholds"]) == 201 and table["thresholds"][::200] == [0, 1]
    assert at(apes, table, 0.7) == (1, 2 / 4, 4 / 6)  # from 0.7 those of 0.9 and 0.8
    assert at(bees, table, 0.45) == (1 / 2, 1 / 2, 2 / 4)
    assert at(apes, table, 1) == (None, 0, 0)
    assert apes["best"] == {"threshold": 0.6, "f1": 6 / 8}
    assert bees["best"] == {"threshold": 0.4, "f1": 4 / 5}


def test_pooled_and_mean(ape: ClassMatches, bee: ClassMatches):
    table = confidence_table([ape, bee], CLASSES)
    # From 0.45: apes 3 of 4, of 4 objects; bees 1 of 2, of 2.
    assert at(table["pooled"], table, 0.45) == (4 / 6, 4 / 6, 8 / 12)
    assert at(table["mean"], table, 0.45) == ((3 / 4 + 1 / 2) / 2, (3 / 4 + 1 / 2) / 2, (6 / 8 + 2 / 4) / 2)
    # From 0.92 there is no ape, and the one bee is wrong: the mean precision is that of bees alone.
    assert at(table["mean"], table, 0.92) == (0, 0, 0) and at(table["mean"], table, 0.97)[0] is None
    # 2 * hits / (detections + 6): 0, 2/8, 4/9, 6/11, 8/12, 10/13 from 0.4, 10/14, 10/15.
    assert table["pooled"]["best"] == {"threshold": 0.4, "f1": 10 / 13}
    # Apes 6/8 from 0.6, 6/9 from 0.3; bees 2/4 from 0.5, 4/5 from 0.4: the sum is greatest from 0.4.
    assert table["mean"]["best"] == {"threshold": 0.4, "f1": pytest.approx((6 / 8 + 4 / 5) / 2)}


def test_scores_of_several_classes_that_are_equal(matches: Callable):
    # Only together from 0.5 on are both classes found; halfway, with one of the two, means nothing.
    table = confidence_table([matches(1, "-", [0.5], 1), matches(2, "+", [0.5], 1)], CLASSES)
    assert table["mean"]["best"] == {"threshold": 0.5, "f1": 0.5}


def test_scores_that_are_no_probabilities(matches: Callable):
    table = confidence_table([matches(1, "+-", [3.5, -2.0], 1)], CLASSES)
    assert table["thresholds"][0] == -2 and table["thresholds"][-1] == 3.5
    assert at(table["classes"][0], table, -2) == (1 / 2, 1, 2 / 3)


@pytest.mark.parametrize("number", [0, 1, 2, 12])
def test_drawn(tmp_path: Path, matches: Callable, ape: ClassMatches, number: int):
    classes = [matches(1, "", [], 3), *(ape for _ in range(1, number))][:number]
    table = confidence_table(classes, ["猫 $x$"])
    draw_confidence(json.loads(json.dumps(table, allow_nan=False)), tmp_path / "confidence")
    with Image.open(tmp_path / "confidence.png") as picture:
        assert picture.format == "PNG" and np.ptp(np.asarray(picture.convert("L"))) > 100
    assert (table["pooled"] is None) == (number == 0)
