"""Intervals of errors against values worked by hand and resampling picture by picture."""

import numpy as np
import pytest

from classification.score.error_intervals import compare_errors, wilson
from foundation.errors import UserError


def test_wilson_interval():
    # 5 of 10: centre 0.5, half width 1.96 / (1 + 0.384) * sqrt(0.025 + 0.0096) = 0.2634.
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)  # not 0 to 0
    assert wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    for wrong, pictures in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(UserError, match="expected at least one"):
            wilson(wrong, pictures)


def test_counts_and_exact_p_value():
    first = np.array([True] * 6 + [False] * 4 + [True] * 10)
    second = np.array([False] * 6 + [True] * 1 + [False] * 3 + [True] * 10)
    found = compare_errors(first, second, resamples=2000)
    assert (found.only_first, found.only_second) == (6, 1)
    assert found.difference == pytest.approx(-5 / 20)
    assert found.p_value == pytest.approx(2 * (1 + 7) / 2**7)  # no or one head of seven
    assert found.low < found.difference < found.high < 0.05


def test_the_interval_is_that_of_resampled_pictures():
    rng = np.random.default_rng(1)
    first, second = rng.random(300) < 0.3, rng.random(300) < 0.2
    found = compare_errors(first, second, resamples=20_000)
    picks = rng.integers(0, 300, (4000, 300))
    slow = second[picks].mean(axis=1) - first[picks].mean(axis=1)
    assert (found.low, found.high) == pytest.approx(np.quantile(slow, (0.025, 0.975)).tolist(), abs=0.01)


def test_equal_classifiers_do_not_differ():
    same = np.array([True, False, False])
    found = compare_errors(same, same, resamples=9)
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_what_cannot_be_compared():
    none, three = np.zeros(0, dtype=bool), np.zeros(3, dtype=bool)
    for first, second, resamples in ((none, none, 5), (three, three[:2], 5), (three, three, 0)):
        with pytest.raises(UserError, match="expected the same pictures"):
            compare_errors(first, second, resamples=resamples)
