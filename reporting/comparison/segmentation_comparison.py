"""Several networks for segmentation beside each other, class by class, and differences of their mean IoU."""

from collections.abc import Sequence

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
from reporting.page.page_parts import Section, Table
from reporting.page.wording import per_cent, percentage
from reporting.picture_intervals import unknown_pictures
from reporting.segmentation_story import SegmentationRun, ranked_classes
from segmentation.results.segmentation_result import NAMES


def compare_segmenters(runs: Sequence[SegmentationRun], resamples: int) -> list[Section]:
    """Figures side by side, what differs in the recipes, curves, classes, and differences of the mean IoU."""
    values = [percentage(run.scores.get("mIoU")) for run in runs]
    pairs, notes = pair_up(runs, _apart)
    return [
        side_by_side(runs, score_columns(runs, NAMES), NAMES["mIoU"], values, other_data),
        *recipes(runs),
        *curves(runs, "mIoU"),
        *_classes(runs),
        paired_differences(resampled_differences(pairs, "IoU"), notes),
    ]


def _classes(runs: Sequence[SegmentationRun]) -> list[Section]:
    """The IoU of every class in each run, in the order of the first: the worst first."""
    known = [run for run in runs if run.class_iou]  # a run under way has them at its end
    names = dict.fromkeys(name for run in known for name in ranked_classes(run.class_iou))
    rows = [[name, *(per_cent(run.class_iou.get(name)) for run in known)] for name in names]
    heading = ["class, IoU in %", *(run.name for run in known)]
    return [Section("Classes", [Table(heading, rows, tall=True)])] if rows else []


def _apart(first: SegmentationRun, second: SegmentationRun) -> str:
    """Why two cannot be compared; "" where they can."""
    return (
        unknown_pictures(first.name, first.resampled)
        or unknown_pictures(second.name, second.resampled)
        or other_data(first, second)
    )
