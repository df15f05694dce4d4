"""Figures as the page writes them: per cent with one digit, intervals as "40.9 (36.0 to 45.7)"."""

import math
from collections.abc import Sequence

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


def figure(value: float | None, digits: int = 1) -> str:
    """With so many digits; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.{digits}f}".replace("-", MINUS)


def percentage(share: float | None) -> float | None:
    """0.409 as 40.9."""
    return None if share is None else 100 * share


def per_cent(share: float | None) -> str:
    """0.409 as "40.9"."""
    return figure(percentage(share))


def with_interval(value: str, low: str, high: str) -> str:
    """The value alone where its interval is not known."""
    return value if NOTHING in (low, high) else f"{value} ({low} to {high})"


def share_with_interval(share: float | None, interval: Sequence[float | None] | None) -> str:
    """0.409 with [0.36, 0.457] as "40.9 (36.0 to 45.7)"; None where the interval is not known."""
    low, high = interval or (None, None)
    return with_interval(per_cent(share), per_cent(low), per_cent(high))


def signed(value: float | None, digits: int = 1) -> str:
    """With its sign, "+" too; nothing has none."""
    text = figure(value, digits)
    return text if text == NOTHING or text.startswith(MINUS) else f"+{text}"


def size(count: int) -> str:
    """Bytes in MB or kB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
