"""Which classes a chart names, and how: all of a few, of many the best, the worst and the commonest."""

from collections.abc import Sequence

from pictures.plots import chart_label

MOST = 10  # as many as there are colours that eyes tell apart
LONGEST = 24  # characters of a name


def shown_classes(values: Sequence[float], objects: Sequence[int]) -> list[int]:
    """Numbers of the classes that are named, the best first; at most ten.

    Args:
        values: (K,) what decides which class is good, for instance AP.
        objects: (K,) how many objects each has.
    """
    ranked = sorted(range(len(values)), key=lambda number: -values[number])
    if len(ranked) <= MOST:
        return ranked
    best, worst = ranked[:3], ranked[-3:]
    others = sorted(ranked[3:-3], key=lambda number: -objects[number])
    return sorted([*best, *worst, *others[: MOST - 6]], key=ranked.index)


def class_label(name: str) -> str:
    """A class's name as a chart's label, a long one cut."""
    return chart_label(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")
