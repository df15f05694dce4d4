"""Thresholds chosen by hand from the two classes that conftest.py counts."""

from collections.abc import Callable
from typing import Any

import pytest

from detection.charts.operating_points import (
    Goal,
    choose_operating_point,
    describe_operating_point,
    parse_goal,
)
from detection.metrics.conventions import ClassMatches
from foundation.errors import UserError


def chosen(classes: list[ClassMatches], goal: str, names: list[str] | None = None) -> dict[str, Any]:
    return choose_operating_point(classes, names or ["ape", "bee"], parse_goal(goal), 0.5)


def figures(entry: dict[str, Any]) -> tuple:
    return tuple(entry[f] for f in ("threshold", "precision", "recall", "detections", "reached"))


def test_the_lowest_threshold_of_a_precision(ape: ClassMatches, bee: ClassMatches):
    point = chosen([ape, bee], "precision=0.6")
    # Apes: 1, 1, 3/4, 3/5 from 0.9, 0.8, 0.6, 0.3: the last reaches 0.6. Bees: 0, 1/2, 2/3, 2/4.
    assert figures(point["classes"][0]) == (0.3, 3 / 5, 3 / 4, 5, True)
    assert figures(point["classes"][1]) == (0.4, 2 / 3, 1, 3, True)
    # Together 3 + 2 hits of 5 + 3 detections, of 6 objects.
    together = {"precision": 5 / 8, "recall": 5 / 6, "f1": 10 / 14, "detections": 8, "objects": 6}
    assert point["together"] == together
    # One threshold: 0/1, 1/2, 2/3, 3/5, 4/6, 5/7, 5/8, 5/9 from 0.95, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.1.
    assert figures(point["one_threshold"]) == (0.3, 5 / 8, 5 / 6, 8, True)
    assert (point["goal"], point["iou"]) == ("precision=0.6", 0.5)


def test_the_highest_threshold_of_a_recall(ape: ClassMatches, bee: ClassMatches):
    point = chosen([ape, bee], "recall=0.5")
    assert figures(point["classes"][0]) == (0.8, 1, 1 / 2, 2, True)
    assert figures(point["classes"][1]) == (0.5, 1 / 2, 1 / 2, 2, True)
    assert point["together"]["recall"] == 1 / 2


def test_the_best_f1(ape: ClassMatches, bee: ClassMatches):
    # Apes: 2/5, 4/6, 6/8, 6/9. Bees: 0/3, 2/4, 4/5, 4/6.
    point = chosen([ape, bee], "f1")
    assert [entry["threshold"] for entry in point["classes"]] == [0.6, 0.4]
    assert [entry["f1"] for entry in point["classes"]] == [6 / 8, 4 / 5]


def test_of_equal_f1_the_highest_threshold(matches: Callable):
    # 2/(1+2), then 2/(2+2), then 4/(4+2): the first and the last are equal.
    (entry,) = chosen([matches(1, "+--+", [0.9, 0.8, 0.7, 0.6], 2)], "f1", ["ape"])["classes"]
    assert entry["threshold"] == 0.9 and entry["f1"] == 2 / 3


def test_what_cannot_be_reached_gets_the_best(ape: ClassMatches, bee: ClassMatches):
    point = chosen([ape, bee], "precision=0.9")
    assert figures(point["classes"][0]) == (0.8, 1, 1 / 2, 2, True)
    assert figures(point["classes"][1]) == (0.4, 2 / 3, 1, 3, False)
    assert "precision=0.9 cannot be reached; the best precision in %: bee 66.67" in (
        describe_operating_point(point)
    )
    point = chosen([ape, bee], "recall=1")
    # The third ape is found at 0.6; the fourth at no score.
    assert figures(point["classes"][0]) == (0.6, 3 / 4, 3 / 4, 4, False)
    assert figures(point["classes"][1]) == (0.4, 2 / 3, 1, 3, True)


def test_a_precision_of_exactly_one_is_reached(matches: Callable):
    (entry,) = chosen([matches(1, "+++", [0.9, 0.8, 0.7], 3)], "precision=1", ["ape"])["classes"]
    assert figures(entry) == (0.7, 1, 1, 3, True)


def test_classes_with_nothing_to_choose_from(ape: ClassMatches, matches: Callable):
    classes = [ape, matches(2, "", [], 2), matches(3, "--", [0.95, 0.2], 1)]
    point = chosen(classes, "recall=0.25", ["ape", "bee", "cow", "dog"])
    # Together 7 objects: 2 of them, 0.8 and all above, are the first quarter. Dogs there are none.
    assert point["one_threshold"]["threshold"] == 0.8
    assert [entry["threshold"] for entry in point["classes"]] == [0.9, 0.8, 0.8, 0.8]
    assert [entry["own"] for entry in point["classes"]] == [True, False, False, False]
    assert figures(point["classes"][1]) == (0.8, None, 0, 0, False)
    assert figures(point["classes"][2]) == (0.8, 0, 0, 1, False)
    assert figures(point["classes"][3]) == (0.8, None, None, 0, False)
    lines = describe_operating_point(point).splitlines()
    assert lines[-2:] == [
        "no detection finds an object; the threshold is that of all classes together: bee, cow",
        "no object to choose a threshold with; that of all classes together: dog",
    ]


def test_the_table(ape: ClassMatches, bee: ClassMatches):
    lines = describe_operating_point(chosen([ape, bee], "f1", ["ape", "b\x1bee"])).splitlines()
    assert lines[0] == "Operating point f1 at IoU 0.5, in % but the numbers:"
    assert lines[2].split() == ["ape", "60.00", "75.00", "75.00", "75.00", "4", "4"]
    assert lines[3].split() == ["b\\x1bee", "40.00", "66.67", "100.00", "80.00", "3", "2"]
    assert lines[4].split()[-6:] == ["-", "71.43", "83.33", "76.92", "7", "6"]
    assert len(lines) == 6 and len({len(line) for line in lines[1:]}) == 1


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "the data set has no object that counts"),
        ([("", [], 2)], "none of 0 detections finds one of 2 objects at IoU 0.5"),
        ([("--", [0.5, 0.4], 2)], "none of 2 detections finds one of 2 objects"),
    ],
)
def test_without_a_hit_there_is_nothing_to_choose(matches: Callable, classes: list, message: str):
    with pytest.raises(UserError, match=message):
        chosen([matches(1, *of_class) for of_class in classes], "f1")


def test_goals():
    assert parse_goal("precision=0.9") == Goal("precision", 0.9)
    assert str(parse_goal("recall=.80")) == "recall=0.8" and str(parse_goal("f1")) == "f1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "precision=1.5",
            "precision=1.5: precision must be above 0 and at most 1, for instance precision=0.9",
        ),
        ("recall=0", "recall=0: recall must be above 0 and at most 1, for instance recall=0.9"),
        ("recall=nan", "recall must be above 0 and at most 1"),
        ("precision=90%", "precision must be above 0 and at most 1"),
        ("precision", "precision must be above 0 and at most 1"),
        ("f1=0.5", "must be precision=P, recall=R or f1, got 'f1=0.5'"),
        ("accuracy=0.9", "must be precision=P, recall=R or f1, got 'accuracy=0.9'"),
        ("", "must be precision=P, recall=R or f1, got ''"),
    ],
)
def test_goals_refused(text: str, message: str):
    with pytest.raises(UserError, match=f"--operating-point.*{message}"):
        parse_goal(text)
