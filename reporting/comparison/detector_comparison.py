"""Several detectors beside each other, and the paired differences of their average precision."""

from collections.abc import Sequence

from detection.results.metrics_by_name import METRICS
from reporting.comparison.comparison_parts import (
    curves,
    other_data,
    pair_up,
    paired_differences,
    recipes,
    resampled_differences,
    score_columns,
    side_by_side,
)
from reporting.detector_story import DetectorRun
from reporting.page.page_parts import Section
from reporting.page.wording import percentage


def compare_detectors(runs: Sequence[DetectorRun], resamples: int) -> list[Section]:
    """Figures side by side, what differs in the recipes, curves, and the differences of the main figure."""
    main = METRICS[runs[0].metric].main
    columns = {"metric": [run.metric for run in runs], **score_columns(runs, {})}
    pairs, notes = pair_up(runs, _apart)
    return [
        side_by_side(runs, columns, main, [percentage(run.scores.get(main)) for run in runs], _other),
        *recipes(runs),
        *curves(runs, main),
        paired_differences(resampled_differences(pairs, "AP"), notes),
    ]


def _other(first: DetectorRun, second: DetectorRun) -> str:
    """Why the figures of two mean different things; "" where they do not."""
    if first.metric != second.metric:
        return f"the metrics are {first.metric} and {second.metric}"
    return other_data(first, second)


def _apart(first: DetectorRun, second: DetectorRun) -> str:
    """Why two cannot be compared; "" where they can."""
    for run in (first, second):
        if first.metric == second.metric and run.resampled is None:
            return f"of {run.name} the predictions or the data set are not at hand, as its own part says"
    return _other(first, second)
