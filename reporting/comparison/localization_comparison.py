"""Several localizers beside each other, and the paired differences of their errors."""

from collections.abc import Sequence

from detection.localization.localization_result import NAMES
from reporting.comparison.comparison_parts import (
    DIFFERENT,
    curves,
    error_differences,
    less,
    pair_up,
    paired_differences,
    recipes,
    score_columns,
    side_by_side,
)
from reporting.localization_story import LocalizationRun
from reporting.page.page_parts import Part, Section
from reporting.page.wording import percentage
from reporting.picture_intervals import unknown_pictures

COMPARED = ("oracle_error", "top5_error")


def compare_localizers(runs: Sequence[LocalizationRun], resamples: int) -> list[Section]:
    """Errors side by side, what differs in the recipes, curves, and the differences of the errors."""
    values = [percentage(run.scores.get("oracle_error")) for run in runs]
    pairs, notes = pair_up(runs, _apart)
    parts: list[Part] = []
    for name in COMPARED:
        wrong = [
            (less(first, second), first.pictures.wrong[name], second.pictures.wrong[name])
            for first, second in pairs
            if first.pictures is not None
            and second.pictures is not None
            and name in first.pictures.wrong
            and name in second.pictures.wrong
        ]
        parts += error_differences(wrong, NAMES[name], resamples)
    return [
        side_by_side(runs, score_columns(runs, NAMES), NAMES["oracle_error"], values, _other),
        *recipes(runs),
        *curves(runs, "oracle_error"),
        paired_differences(parts, notes),
    ]


def _other(first: LocalizationRun, second: LocalizationRun) -> str:
    """Says so where two are known to have been scored on different data."""
    a, b = first.pictures, second.pictures
    if a is None or b is None:
        return ""
    same = (a.fingerprint, a.ids, a.labels, a.classes) == (b.fingerprint, b.ids, b.labels, b.classes)
    return "" if same else DIFFERENT


def _apart(first: LocalizationRun, second: LocalizationRun) -> str:
    """Why two cannot be compared; "" where they can."""
    return (
        unknown_pictures(first.name, first.pictures)
        or unknown_pictures(second.name, second.pictures)
        or _other(first, second)
    )
