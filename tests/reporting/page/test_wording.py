"""Figures in words."""

import math

from reporting.page.wording import (
    figure,
    per_cent,
    percentage,
    share_with_interval,
    signed,
    size,
    with_interval,
)


def test_figures():
    assert [figure(x) for x in (40.94, -0.26, None, math.nan, math.inf)] == ["40.9", "−0.3", "–", "–", "–"]
    assert figure(0.12345, 3) == "0.123"
    assert [per_cent(x) for x in (0.409, 1.0, None)] == ["40.9", "100.0", "–"]
    assert [percentage(x) for x in (0.25, None)] == [25, None]
    assert [signed(x) for x in (3.21, -3.21, 0.0, None)] == ["+3.2", "−3.2", "+0.0", "–"]


def test_intervals():
    assert with_interval("40.9", "36.0", "45.7") == "40.9 (36.0 to 45.7)"
    assert with_interval("40.9", "–", "45.7") == "40.9"
    assert share_with_interval(0.409, [0.36, 0.457]) == "40.9 (36.0 to 45.7)"
    assert share_with_interval(0.409, (None, None)) == share_with_interval(0.409, None) == "40.9"


def test_sizes():
    assert [size(n) for n in (999, 44_700_000)] == ["1 kB", "44.7 MB"]
