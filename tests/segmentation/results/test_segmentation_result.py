"""The figures of a confusion matrix as result.json and people have them."""

import numpy as np
import pytest

from segmentation.metrics.confusion_matrix import PictureCounts
from segmentation.results.segmentation_result import describe_segmentation, segmentation_result

# Truth: 6 pixels of a, 4 of b, none of c; of a 4 are found, of b 3; 1 of a is taken for c.
MATRIX = np.array([[4, 1, 1], [1, 3, 0], [0, 0, 0]], dtype=np.int64)
PICTURES = PictureCounts(*(counts[None] for counts in (MATRIX.diagonal(), MATRIX.sum(1), MATRIX.sum(0))))


def test_the_figures():
    result = segmentation_result(MATRIX, ["a", "b", "c"], PICTURES)
    assert result["class_iou"] == {"a": 4 / 7, "b": 3 / 5, "c": 0}
    assert result["scores"]["mIoU"] == pytest.approx((4 / 7 + 3 / 5) / 3)
    assert result["scores"]["pixel_accuracy"] == 0.7
    assert result["scores"]["mean_accuracy"] == pytest.approx((4 / 6 + 3 / 4) / 2)
    assert result["scores"]["frequency_weighted_IoU"] == pytest.approx(0.6 * 4 / 7 + 0.4 * 3 / 5)
    assert (result["pictures"], "boundary_F" in result["scores"], "interval" in result) == (1, False, False)


def test_what_is_not_defined_is_null():
    matrix = np.zeros((2, 2), dtype=np.int64)
    none = PictureCounts(*(np.zeros((1, 2), dtype=np.int64),) * 3)
    result = segmentation_result(matrix, ["a", "b"], none)
    assert set(result["scores"].values()) == {None} and result["class_iou"] == {"a": None, "b": None}


def test_boundaries_and_the_interval():
    boundaries = [np.array([0.5, 1.0, np.nan]), np.array([1.0, np.nan, np.nan])]
    result = segmentation_result(MATRIX, ["a", "b", "c"], PICTURES, boundaries=boundaries, resamples=20)
    assert result["scores"]["boundary_F"] == pytest.approx((0.75 + 1) / 2)
    low, high = result["interval"]["mIoU"]
    assert low == high == pytest.approx(result["scores"]["mIoU"])  # of one picture
    lines = describe_segmentation(result).splitlines()
    assert lines[0] == "segmentation in % of 1 picture"
    assert lines[1] == "  mean IoU                      39.05  (39.05 to 39.05)"
    assert lines[-1] == "  c                              0.00"
