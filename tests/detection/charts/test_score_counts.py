"""Precision, recall and F1 from each score on, counted by hand (conftest.py says what is left)."""

from collections.abc import Callable

import numpy as np
import pytest

from detection.charts.score_counts import counts_of_class, counts_together
from detection.metrics.conventions import VOC12, ClassMatches, class_curve


def test_a_class(ape: ClassMatches):
    counts = counts_of_class(ape)
    assert counts.scores.tolist() == [0.9, 0.8, 0.6, 0.3]  # those of 0.6 are kept together, 0.7 is ignored
    assert counts.hits.tolist() == [1, 2, 3, 3] and counts.kept.tolist() == [1, 2, 4, 5]
    assert counts.precision.tolist() == [1, 1, 3 / 4, 3 / 5]
    assert counts.recall.tolist() == [1 / 4, 2 / 4, 3 / 4, 3 / 4]
    # Twice the hits over detections and objects: 2/(1+4), 4/(2+4), 6/(4+4), 6/(5+4).
    assert counts.f1.tolist() == [2 / 5, 4 / 6, 6 / 8, 6 / 9]
    harmonic = 2 / (1 / counts.precision + 1 / counts.recall)
    assert counts.f1 == pytest.approx(harmonic)


def test_they_lie_on_the_curve_of_the_figure(ape: ClassMatches):
    counts, curve = counts_of_class(ape), class_curve(ape, VOC12)
    last = [0, 1, 3, 4]  # where a score stands last
    assert curve.precision[last].tolist() == counts.precision.tolist()
    assert curve.recall[last].tolist() == counts.recall.tolist()


def test_at_other_scores(ape: ClassMatches):
    counts = counts_of_class(ape).at(np.array([0.0, 0.3, 0.31, 0.6, 0.85, 0.9, 1.0]))
    assert counts.kept.tolist() == [5, 5, 4, 4, 1, 1, 0] and counts.hits.tolist() == [3, 3, 3, 3, 1, 1, 0]
    assert counts.objects == 4


def test_classes_together(ape: ClassMatches, bee: ClassMatches):
    counts = counts_together([ape, bee])
    assert counts.scores.tolist() == [0.95, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.1]
    assert counts.kept.tolist() == [1, 2, 3, 5, 6, 7, 8, 9]
    assert counts.hits.tolist() == [0, 1, 2, 3, 4, 5, 5, 5] and counts.objects == 6


@pytest.mark.parametrize("classes", [[], [("", [], 3)], [("~", [0.5], 3)]])
def test_nothing_found(matches: Callable, classes: list):
    counts = counts_together([matches(label, *of) for label, of in enumerate(classes, start=1)])
    for values in (counts.scores, counts.precision, counts.recall, counts.f1):
        assert values.shape == (0,)
    assert counts.objects == 3 * len(classes)
    assert counts.at(np.array([0.5])).kept.tolist() == [0]
