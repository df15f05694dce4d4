import numpy as np
import pytest

from foundation.errors import UserError
from segmentation.metrics.confusion_matrix import PictureCounts
from segmentation.metrics.iou_bootstrap import bootstrap_iou, resampled_class_ious, resampled_ious, total_ious

# One class: 3 of 4 pixels, 1 of 4 pixels.
TWO = PictureCounts(np.array([[3], [1]]), np.array([[4], [4]]), np.array([[3], [1]]))


def test_two_pictures_give_three_values():
    # Drawn once each 4 / 8; twice the first 6 / 8; twice the second 2 / 8: with probabilities 1/2, 1/4, 1/4.
    values = resampled_ious(TWO, 4000, seed=0)
    found, counts = np.unique(values, return_counts=True)
    assert found.tolist() == [0.25, 0.5, 0.75]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_interval():
    interval = bootstrap_iou(TWO, resamples=200, level=0.9, seed=1)
    assert (interval.figure, interval.low, interval.high) == (0.5, 0.25, 0.75)
    assert interval == bootstrap_iou(TWO, resamples=200, level=0.9, seed=1)


def test_equal_pictures_have_no_spread():
    same = PictureCounts(*(np.tile(counts[:1], (5, 1)) for counts in TWO))
    interval = bootstrap_iou(same, resamples=50)
    assert (interval.low, interval.figure, interval.high) == (0.75, 0.75, 0.75)


def test_a_class_counts_only_in_draws_that_have_it():
    # The second picture is ignored as a whole; drawn alone it gives no figure.
    pictures = PictureCounts(
        np.array([[1, 0], [0, 0]]), np.array([[2, 0], [0, 0]]), np.array([[1, 0], [0, 0]])
    )
    values = resampled_ious(pictures, 100, seed=0)
    assert np.unique(values[~np.isnan(values)]).tolist() == [0.5]
    assert 0 < np.isnan(values).sum() < 100
    assert bootstrap_iou(pictures, resamples=100).low == 0.5


def test_classes_and_their_mean():
    # Of the first picture 3 of 4 pixels of class 0 are found, and the fourth is taken for class 1. The second
    # picture has 2 pixels of class 1, which are found. Nobody knows class 2.
    pictures = PictureCounts(
        np.array([[3, 0, 0], [0, 2, 0]]), np.array([[4, 0, 0], [0, 2, 0]]), np.array([[3, 1, 0], [0, 2, 0]])
    )
    assert total_ious(pictures)[:2].tolist() == [0.75, 2 / 3] and np.isnan(total_ious(pictures)[2])
    values = resampled_class_ious(pictures, 200, seed=0)
    assert values.shape == (200, 3) and np.isnan(values[:, 2]).all()
    # The first twice: class 1 is only predicted, 0. Each once: 2/3. The second twice: 1, and no class 0.
    assert np.unique(values[:, 1]).tolist() == [0, 2 / 3, 1]
    assert (np.isnan(values[:, 0]) == (values[:, 1] == 1)).all()
    means = resampled_ious(pictures, 200, seed=0)
    assert np.unique(means).tolist() == [0.375, (0.75 + 2 / 3) / 2, 1]


def test_two_networks_see_the_same_resamples():
    # What the second finds of a picture is half of what the first does: so on every resample, too.
    halves = PictureCounts(np.array([[6], [2]]), np.array([[8], [8]]), np.array([[6], [2]]))
    double = PictureCounts(np.array([[3], [1]]), np.array([[8], [8]]), np.array([[3], [1]]))
    first, second = (resampled_ious(pictures, 100, seed=0) for pictures in (halves, double))
    assert second == pytest.approx(first / 2) and len(np.unique(first)) == 3


def test_no_picture_and_no_resamples():
    nothing = PictureCounts(*(np.zeros((0, 2), dtype=np.int64) for _ in range(3)))
    interval = bootstrap_iou(nothing, resamples=3)
    assert np.isnan([interval.figure, interval.low, interval.high]).all()
    with pytest.raises(UserError, match="1 or more resamples, got 0"):
        resampled_ious(TWO, 0, seed=0)
