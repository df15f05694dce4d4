import numpy as np
import pytest

from segmentation.metrics.boundary_score import boundary_f, mean_boundary_f, near
from segmentation.types import IGNORED


def halves(height: int, width: int, first: int) -> np.ndarray:
    """Class 0 in the first columns, 1 in the others."""
    labels = np.ones((height, width), dtype=np.uint8)
    labels[:, :first] = 0
    return labels


def pixels(count: float, labels: np.ndarray) -> float:
    """The tolerance that is so many pixels, and a little."""
    return (count + 1e-6) / float(np.hypot(*labels.shape))


def test_equal_maps():
    labels = halves(6, 8, 3)
    assert boundary_f(labels, labels, 3, tolerance=0).tolist()[:2] == [1, 1]
    assert np.isnan(boundary_f(labels, labels, 3)[2])


def test_a_boundary_moved_by_two_pixels_is_near_at_a_tolerance_of_two():
    truth, prediction = halves(6, 12, 4), halves(6, 12, 6)
    assert boundary_f(prediction, truth, 2, tolerance=pixels(2, truth)).tolist() == [1, 1]
    assert boundary_f(prediction, truth, 2, tolerance=pixels(1, truth)).tolist() == [0, 0]


def test_worked_by_hand():
    # A column of four true pixels of class 1 in the middle; the prediction has the upper two of them and two
    # more pixels five columns off. At tolerance 0 precision is 2 / 4, recall 2 / 4.
    truth, prediction = np.zeros((4, 12), np.uint8), np.zeros((4, 12), np.uint8)
    truth[:, 3] = 1
    prediction[:2, 3] = 1
    prediction[:2, 8] = 1
    assert boundary_f(prediction, truth, 2, tolerance=0)[1] == pytest.approx(0.5)
    # Within one pixel the third true one has a neighbour: recall 3 / 4, F = 2 · ½ · ¾ / (½ + ¾).
    assert boundary_f(prediction, truth, 2, tolerance=pixels(1, truth))[1] == pytest.approx(0.6)


def test_a_class_in_one_map_alone_is_zero_and_without_boundary_nothing():
    whole, part = np.zeros((4, 4), np.uint8), halves(4, 4, 2)
    assert boundary_f(whole, part, 2).tolist() == [0, 0]
    assert boundary_f(part, whole, 2).tolist() == [0, 0]
    assert np.isnan(boundary_f(whole, whole, 2)).all()


def test_ignored_pixels():
    truth = halves(4, 40, 20)
    banded, wrong = truth.copy(), truth.copy()
    banded[:, 19:21] = IGNORED  # VOC's band: the true boundaries are now columns 18 and 21
    near_one = pixels(1, truth)
    assert boundary_f(truth, banded, 2, tolerance=near_one).tolist() == [1, 1]
    wrong[1, 5] = 1  # a wrong pixel, and its neighbours of class 0
    assert (boundary_f(wrong, banded, 2, tolerance=near_one) < 1).all()
    banded[:, 3:8] = IGNORED
    scores = boundary_f(wrong, banded, 2, tolerance=near_one)
    assert scores[1] == 1  # the wrong pixel of class 1 is ignored, and no true boundary is near it


def test_distance_is_euclidean():
    flags = np.zeros((5, 5), dtype=bool)
    flags[2, 2] = True
    rows, columns = np.indices(flags.shape) - 2
    for reach in (0, 1, 1.5, 2, 2.3, 9):
        assert (near(flags, reach) == (np.hypot(rows, columns) <= reach)).all()


def test_means_leave_out_what_no_picture_has():
    mean, classes = mean_boundary_f([np.array([1, 0.5, np.nan]), np.array([0, np.nan, np.nan])])
    assert classes == pytest.approx([0.5, 0.5, np.nan], nan_ok=True)
    assert mean == 0.5


def test_maps_of_two_sizes():
    with pytest.raises(ValueError, match=r"the prediction is \(2, 2\), but the truth \(2, 3\)"):
        boundary_f(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)
