"""Charts: round ticks, places worked by hand, gaps, and text that stays text."""

import math
import xml.etree.ElementTree as ET

import pytest

from reporting.page.svg_charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Line,
    bar_mark,
    interval_mark,
    line_chart,
    tick_label,
    ticks,
)


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 64_000, [0, 20_000, 40_000, 60_000]),
        (-0.3, 0.3, [-0.2, 0, 0.2]),
        (5, 5, [5]),
    ],
)
def test_ticks(low: float, high: float, expected: list[float]):
    assert ticks(low, high) == pytest.approx(expected)


def test_ticks_are_never_too_many():
    for exponent in range(-8, 9):
        for high in (1.0, 1.3, 2.4, 4.9, 7.7, 9.99):
            assert 2 <= len(ticks(0, high * 10.0**exponent)) <= 6, (high, exponent)


def test_tick_labels():
    assert [tick_label(x) for x in (0, 0.25, 1500, 20_000, 1_500_000, 2e-5, -0.5)] == [
        *("0", "0.25", "1500", "20k", "1.5M", "2e-05", "−0.5")
    ]


def test_places():
    svg = line_chart([Line([0, 10], [0, 1])], Axis("step", 0, 10), Axis("loss", 0, 1), title="t")
    (line,) = [path for path in ET.fromstring(str(svg)).iter("path") if "line" in path.get("class", "")]
    assert line.get("d") == f"M{LEFT:.1f} {HEIGHT - BOTTOM:.1f}L{WIDTH - RIGHT:.1f} {TOP:.1f}"


def test_gaps_single_points_and_grey():
    lines = [Line([0, 1, 2, 3], [1, math.nan, 2, 3], None), Line([2], [2], 9, bold=True)]
    paths = list(ET.fromstring(str(line_chart(lines, Axis("x"), Axis("y"), title="t"))))
    grey, coloured = [p for p in paths if p.get("class", "").startswith("line")]
    assert grey.get("class") == "line other" and grey.get("d", "").count("M") == 2
    assert coloured.get("class") == "line s2 bold"  # the tenth of seven
    assert [p.get("class") for p in paths if p.tag == "circle"] == ["dot s2"]


def test_nothing_to_draw_is_still_a_chart():
    for lines in ([], [Line([], [])], [Line([1], [math.inf])]):
        ET.fromstring(str(line_chart(lines, Axis("x"), Axis("y"), title="t")))


def test_text_stays_text():
    svg = str(line_chart([], Axis("<b>&"), Axis("<i>"), title='">'))
    texts = [element.text for element in ET.fromstring(svg).iter("text")]
    assert "<b>&" in texts and "<i>" in texts and "<b>" not in svg


def test_marks():
    mark = ET.fromstring(str(interval_mark(0.0, -5.0, 5.0, (-10.0, 10.0))))
    zero, bar, dot = list(mark)
    assert (zero.get("class"), bar.get("class"), dot.get("cx")) == ("zero", "range", "75.0")
    assert bar.get("d") == "M40.0 7.0H110.0"
    assert interval_mark(None, 0, 1, (0, 1)) == "" == interval_mark(math.nan, 0, 1, (0, 1))
    assert "range" not in interval_mark(0.5, None, None, (0, 1))
    assert 'width="70.0"' in bar_mark(1, 2) and 'width="0.0"' in bar_mark(-1, 2) and "0.0" in bar_mark(1, 0)
