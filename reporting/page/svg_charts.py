"""Charts as inline SVG: colours and letters are the style sheet's, so that they follow light and dark.

A chart is drawn 380 units wide and shown about as wide in pixels, so its letters have the page's size on a
narrow screen and on a wide one. Series differ by colour and by dashes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 10, 40
SERIES = 7  # that the style sheet tells apart; more repeat
MARK_WIDTH, MARK_HEIGHT = 150, 14


@dataclass(frozen=True)
class Line:
    """One series: points x, y, in order of x; `series` is its number in the style sheet, None for grey."""

    x: Sequence[float]
    y: Sequence[float]
    series: int | None = 0
    bold: bool = False


@dataclass(frozen=True)
class Axis:
    """The title of an axis with its unit, and its limits; those that are None follow from the lines."""

    title: str
    low: float | None = None
    high: float | None = None


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most `most`: multiples of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (step * factor) <= most - 1)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_label(value: float) -> str:
    """Short: 0, 0.25, 20k, 1.5M, 2e-05."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * unit or (abs(value) >= unit and letter == "M"):
            return f"{value / unit:g}{letter}"
    return (
        f"{value:.4g}".replace("-", "\N{MINUS SIGN}") if abs(value) >= 1e-4 or not value else f"{value:.0e}"
    )


def line_chart(lines: Sequence[Line], x: Axis, y: Axis, *, title: str) -> Markup:
    """Lines in a frame with ticks and titles; points that are not finite interrupt their line.

    Args:
        title: read out in place of the drawing.
    """
    across = _Scale.of(x, [line.x for line in lines], LEFT, WIDTH - RIGHT)
    up = _Scale.of(y, [line.y for line in lines], HEIGHT - BOTTOM, TOP, room=True)
    parts = [_grid(across, up, x.title, y.title)]
    ordered = sorted(lines, key=lambda line: (line.series is not None, line.bold))
    parts += [_path(line, across, up) for line in ordered]
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, title, Markup("").join(parts)
    )


@dataclass(frozen=True)
class _Scale:
    """From values low … high to places start … end."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def of(
        cls, axis: Axis, values: Sequence[Sequence[float]], start: float, end: float, *, room: bool = False
    ) -> "_Scale":
        known = [value for part in values for value in part if math.isfinite(value)] or [0.0]
        low = min(known) if axis.low is None else axis.low
        high = max(known) if axis.high is None else axis.high
        if not high > low:
            high = low + (abs(low) or 1.0)
        if room and axis.high is None:
            high += 0.04 * (high - low)
        return cls(low, high, start, end)

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _grid(across: _Scale, up: _Scale, x_title: str, y_title: str) -> Markup:
    bottom, parts = HEIGHT - BOTTOM, []
    for value in ticks(up.low, up.high):
        height = f"{up(value):.1f}"
        parts.append(
            Markup(
                '<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}" dy=".32em" class="end">{}</text>'
            ).format(LEFT, height, WIDTH - RIGHT, LEFT - 6, height, tick_label(value))
        )
    for value in ticks(across.low, across.high, 5):
        place = f"{across(value):.1f}"
        parts.append(
            Markup('<path class="tick" d="M{} {}v4"/><text x="{}" y="{}" class="middle">{}</text>').format(
                place, bottom, place, bottom + 16, tick_label(value)
            )
        )
    parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(LEFT, bottom, WIDTH - RIGHT))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        Markup('<text x="{}" y="{}" class="middle name">{}</text>').format(middle, HEIGHT - 6, x_title)
    )
    text = '<text transform="translate(11 {}) rotate(-90)" class="middle name">{}</text>'
    parts.append(Markup(text).format((TOP + bottom) / 2, y_title))
    return Markup("").join(parts)


def _path(line: Line, across: _Scale, up: _Scale) -> Markup:
    commands, pen = [], "M"
    for x, y in zip(line.x, line.y, strict=True):
        if not (math.isfinite(x) and math.isfinite(y)):
            pen = "M"
            continue
        commands.append(f"{pen}{across(x):.1f} {up(y):.1f}")
        pen = "L"
    kind = "other" if line.series is None else f"s{line.series % SERIES}"
    bold = " bold" if line.bold else ""
    drawn = Markup('<path class="line {}{}" d="{}"/>').format(kind, bold, "".join(commands))
    if len(commands) == 1:  # one point makes no line
        drawn += Markup('<circle class="dot {}" cx="{}" cy="{}" r="3"/>').format(
            kind, *commands[0][1:].split()
        )
    return drawn


def interval_mark(
    value: float | None, low: float | None, high: float | None, limits: tuple[float, float]
) -> Markup:
    """A row's value as a dot with its interval as a bar, on the scale of its column; empty without a value.

    Zero is marked where it lies inside the limits.
    """
    if value is None or not math.isfinite(value):
        return Markup("")
    scale = _Scale(limits[0], limits[1] if limits[1] > limits[0] else limits[0] + 1, 5, MARK_WIDTH - 5)
    parts, middle = [], MARK_HEIGHT / 2
    if limits[0] < 0 < limits[1]:
        parts.append(Markup('<path class="zero" d="M{:.1f} 0V{}"/>').format(scale(0), MARK_HEIGHT))
    if low is not None and high is not None:
        parts.append(
            Markup('<path class="range" d="M{:.1f} {}H{:.1f}"/>').format(scale(low), middle, scale(high))
        )
    parts.append(Markup('<circle class="value" cx="{:.1f}" cy="{}" r="3.2"/>').format(scale(value), middle))
    return Markup('<svg class="mark" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        MARK_WIDTH, MARK_HEIGHT, Markup("").join(parts)
    )


def bar_mark(value: float, highest: float) -> Markup:
    """A row's value as a bar, on the scale of its column."""
    width = 0 if highest <= 0 else max(0.0, value) / highest * (MARK_WIDTH - 10)
    return Markup(
        '<svg class="mark" viewBox="0 0 {} {}" aria-hidden="true">'
        '<rect class="bar" x="5" y="3" width="{:.1f}" height="8"/></svg>'
    ).format(MARK_WIDTH, MARK_HEIGHT, width)
