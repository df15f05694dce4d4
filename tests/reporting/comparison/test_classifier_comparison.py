"""Classifiers on the same pictures, and those that are not compared."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from reporting.classifier_story import Answers, ClassifierRun
from reporting.comparison.classifier_comparison import compare_classifiers


def classifier(name: str, wrong: list[bool]) -> ClassifierRun:
    count = len(wrong)
    ids = [f"a/{i}" for i in range(count)]
    answers = Answers(ids, ["a"] * count, ["b"] * count, np.ones(count), np.array(wrong))
    scores = {"top1_error": 100 * sum(wrong) / count, "loss": 1.0}
    return ClassifierRun(name, None, (), scores, count, answers, "python x")


def test_classifiers(rows: Callable):
    first, second = (
        classifier("A", [True] * 12 + [False] * 28),
        classifier("B", [False] * 11 + [True] + [False] * 28),
    )
    sections = compare_classifiers([first, second], 500)
    assert rows(sections, "Side by side")[0][:3] == ["A", "30.0 (18.1 to 45.4)", ""]
    assert rows(sections, "Side by side")[1][2] == "−27.5"
    pair, text, star, _ = rows(sections, "Paired differences")[0]
    assert (pair, star) == ("B less A", "*") and text.startswith("−27.5 (")
    # 11 pictures that only A gets wrong: p = 2 / 2^11.
    assert rows(sections, "Paired differences", 1) == [["B less A", "0", "11", "0.00098"]]


def test_classifiers_that_are_not_compared(rows: Callable, texts: Callable):
    one = classifier("A", [True, False])
    other = classifier("B", [True, False, True])
    silent = replace(one, name="C", answers=None)
    sections = compare_classifiers([one, other, silent], 9)
    said = texts(sections)
    assert "A and B are not compared: they were scored on different pictures or labels." in said
    assert "A and C are not compared: what C says of each picture is not known before python x." in said
    assert [row[2] for row in rows(sections, "Side by side")] == ["", "", "+0.0"]
