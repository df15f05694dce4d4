"""Several classifiers beside each other, and the paired differences of their top-1 error."""

from collections.abc import Sequence

from reporting.classifier_story import ClassifierRun, error_text
from reporting.comparison.comparison_parts import (
    curves,
    error_differences,
    less,
    pair_up,
    paired_differences,
    recipes,
    side_by_side,
)
from reporting.page.page_parts import Section
from reporting.page.wording import figure


def compare_classifiers(runs: Sequence[ClassifierRun], resamples: int) -> list[Section]:
    """Errors side by side, what differs in the recipes, curves, and the differences of the top-1 error."""
    columns = {}
    for name in dict.fromkeys(name for run in runs for name in run.scores):
        columns[name.replace("_", " ")] = [
            error_text(run.scores.get(name), run.pictures)
            if name.endswith("_error")
            else figure(run.scores.get(name), 3)
            for run in runs
        ]
    pairs, notes = pair_up(runs, _apart)
    wrong = [
        (less(first, second), first.answers.wrong, second.answers.wrong)
        for first, second in pairs
        if first.answers is not None and second.answers is not None
    ]
    return [
        side_by_side(runs, columns, "top1 error", [run.scores.get("top1_error") for run in runs], _other),
        *recipes(runs),
        *curves(runs, "top1_error"),
        paired_differences(error_differences(wrong, "top-1 error", resamples), notes),
    ]


def _other(first: ClassifierRun, second: ClassifierRun) -> str:
    """Says so where two are known to have been scored on different data."""
    if first.answers is None or second.answers is None:
        return ""
    same = (first.answers.ids, first.answers.labels) == (second.answers.ids, second.answers.labels)
    return "" if same else "they were scored on different pictures or labels"


def _apart(first: ClassifierRun, second: ClassifierRun) -> str:
    """Why two cannot be compared; "" where they can."""
    for run in (first, second):
        if run.answers is None:
            return f"what {run.name} says of each picture is not known before {run.remedy}"
    return _other(first, second)
