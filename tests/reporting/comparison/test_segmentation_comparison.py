"""Networks for segmentation side by side: differences worked by hand, classes, what is not compared."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from reporting.comparison.segmentation_comparison import compare_segmenters
from reporting.page.page_parts import Charts, Section
from reporting.segmentation_story import SegmentationRun, resample_counts
from segmentation.config import SegmentationConfig
from segmentation.metrics.confusion_matrix import PictureCounts
from segmentation.results.counted_pictures import CountedPictures
from training.config import load_config

CLASSES = ["ground", "cat", "dog"]
# Two pictures of 8 pixels of ground and of cat; nobody is a dog or is taken for one.
TRUTH = [[8, 8, 0], [8, 8, 0]]


def network(name: str, hits: list[list[int]], *overrides: str, **changes: object) -> SegmentationRun:
    """Finds so many pixels of each class; those that are missed are taken for the other."""
    found, truth = np.array(hits), np.array(TRUTH)
    predicted = found + (truth - found)[:, [1, 0, 2]]
    counts = CountedPictures(["a", "b"], CLASSES, "set", PictureCounts(found, truth, predicted))
    resampled = resample_counts(replace(counts, **changes), 400)
    config = load_config(SegmentationConfig, None, ["data.kind=shapes", *overrides])
    entries = [{"step": 5, "loss": 2.0, "loss_aux": 0.5}, {"step": 10, "val/mIoU": 0.5}]
    scores, ious = resampled.means, resampled.class_figures.tolist()
    class_iou = {key: None if value != value else value for key, value in zip(CLASSES, ious, strict=True)}
    return SegmentationRun(name, config, entries, scores, class_iou, {"mIoU": (0.25, 1)}, resampled)


@pytest.fixture
def two() -> list[SegmentationRun]:
    """A finds all of the first picture and half of the second; B two of eight and all."""
    return [
        network("A", [[8, 8, 0], [4, 4, 0]]),
        network("B", [[2, 2, 0], [8, 8, 0]], "optim.lr=0.5"),
    ]


def part(sections: list[Section], title: str) -> Section:
    (found,) = [section for section in sections if section.title == title]
    return found


def test_a_paired_difference(two: list[SegmentationRun], rows: Callable):
    # A: 12 of 16 pixels of each class are found, 4 are taken for the other: 12 / 20. B: 10 / 22.
    sections = compare_segmenters(two, 400)
    first, second = rows(sections, "Side by side")
    assert first == ["A", "60.0 (25.0 to 100.0)", ""] and second == ["B", "45.5 (25.0 to 100.0)", "−14.5"]
    # The first picture twice: A 1, B 4 / 28. The second twice: A 8 / 24, B 1. Paired, the differences are
    # −6/7, −8/55 and +2/3, a quarter, half and a quarter of the resamples.
    (pair, text, star, _), *_ = rows(sections, "Paired differences")
    assert (pair, text, star) == ("B less A", "−14.5 (−85.7 to +66.7)", "")
    values = two[1].resampled.resamples["mIoU"] - two[0].resampled.resamples["mIoU"]
    found, counts = np.unique(values.round(9), return_counts=True)
    assert found == pytest.approx([-6 / 7, -8 / 55, 2 / 3])
    assert counts / 400 == pytest.approx([0.25, 0.5, 0.25], abs=0.07)


def test_unpaired_pictures_would_say_less(rows: Callable):
    # B finds two pixels less of each picture: the pictures differ by much, but B is worse on every resample.
    a, b = network("A", [[8, 8, 0], [4, 4, 0]]), network("B", [[6, 6, 0], [2, 2, 0]])
    (_, _, star, _), *_ = rows(compare_segmenters([a, b], 400), "Paired differences")
    assert star == "*"


def test_classes_and_recipes_and_curves(two: list[SegmentationRun], rows: Callable):
    sections = compare_segmenters(two, 400)
    assert rows(sections, "Classes") == [
        ["ground", "60.0", "45.5"],
        ["cat", "60.0", "45.5"],
        ["dog", "–", "–"],
    ]
    assert rows(sections, "What differs") == [["optim.lr", "0.007", "0.5"]]
    by_class = rows(sections, "Paired differences", 1)  # the dog has no figure
    assert [row[:2] for row in by_class] == [[name, "−14.5 (−85.7 to +66.7)"] for name in ("ground", "cat")]
    (charts,) = part(sections, "Curves").parts
    assert isinstance(charts, Charts)
    assert [chart.title for chart in charts.charts] == ["Validation: mean IoU", "Sum of the training losses"]
    assert all(chart.legend == [(0, "A"), (1, "B")] for chart in charts.charts)


def test_three_runs_are_three_pairs(two: list[SegmentationRun], rows: Callable):
    third = replace(two[0], name="C", entries=(), config=None, class_iou={})
    sections = compare_segmenters([*two, third], 400)
    pairs = rows(sections, "Paired differences")
    assert [row[0] for row in pairs] == ["B less A", "C less A", "C less B"]
    assert pairs[1][1] == "+0.0 (+0.0 to +0.0)" and len(rows(sections, "Classes")[0]) == 3
    assert len([p for p in part(sections, "Paired differences").parts if hasattr(p, "rows")]) == 1


def test_what_is_not_compared(two: list[SegmentationRun], rows: Callable, texts: Callable):
    other = network("other", [[8, 8, 0], [4, 4, 0]], fingerprint="moved")
    names = network("names", [[8, 8, 0], [4, 4, 0]], classes=["ground", "cat", "wolf"])
    silent = replace(two[0], name="silent", resampled=None)
    sections = compare_segmenters([two[0], other, names, silent], 400)
    said = texts(sections)
    different = "they were scored on different pictures, annotations or classes."
    assert f"A and other are not compared: {different}" in said
    assert f"A and names are not compared: {different}" in said
    assert "A and silent are not compared: of silent nothing is known of single pictures, as its own" in said
    assert [row[2] for row in rows(sections, "Side by side")] == ["", "", "", "+0.0"]
    assert not [p for p in part(sections, "Paired differences").parts if hasattr(p, "rows")]
