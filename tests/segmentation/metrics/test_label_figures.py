import numpy as np
import pytest
import torch

from segmentation.metrics.confusion_matrix import ConfusionMatrix
from segmentation.metrics.label_figures import class_accuracies, class_ious, score_matrix


def test_worked_by_hand():
    # Rows are true: 3 of class 0 (2 found, 1 taken for 1), 4 of class 1 (all found), 1 of class 2 (taken for
    # 0: a class of one pixel), none of class 3, which is neither predicted.
    matrix = np.array([[2, 1, 0, 0], [0, 4, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    scores = score_matrix(matrix)
    # Class 0: 2 of 3 true + 3 predicted − 2. Class 1: 4 of 4 + 5 − 4. Class 2: 0 of 1 + 0.
    assert scores.class_ious == pytest.approx([2 / 4, 4 / 5, 0, np.nan], nan_ok=True)
    assert scores.mean_iou == pytest.approx((2 / 4 + 4 / 5) / 3)
    assert scores.pixel_accuracy == 6 / 8
    assert scores.class_accuracies == pytest.approx([2 / 3, 1, 0, np.nan], nan_ok=True)
    assert scores.mean_accuracy == pytest.approx((2 / 3 + 1) / 3)
    assert scores.frequency_weighted_iou == pytest.approx((3 * 2 / 4 + 4 * 4 / 5 + 0) / 8)


def test_a_class_that_is_only_predicted_counts_with_zero():
    scores = score_matrix(np.array([[3, 1], [0, 0]]))
    assert scores.class_ious.tolist() == [3 / 4, 0]
    assert scores.mean_iou == 3 / 8
    assert class_accuracies(np.array([[3, 1], [0, 0]])) == pytest.approx([3 / 4, np.nan], nan_ok=True)
    assert scores.mean_accuracy == 3 / 4  # only of classes in the truth


def test_nothing_counted_gives_no_figure():
    scores = score_matrix(np.zeros((2, 2), dtype=np.int64))
    figures = scores.mean_iou, scores.pixel_accuracy, scores.mean_accuracy, scores.frequency_weighted_iou
    assert np.isnan([*figures, *scores.class_ious]).all()


def test_all_found():
    scores = score_matrix(np.diag([5, 1, 0]))
    figures = scores.mean_iou, scores.pixel_accuracy, scores.mean_accuracy, scores.frequency_weighted_iou
    assert figures == (1, 1, 1, 1)


def test_as_a_loop_over_the_pixels_of_sets():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 6, 500), rng.integers(0, 6, 500)
    matrix = np.zeros((6, 6), dtype=np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    for label, iou in enumerate(class_ious(matrix)):
        of_truth, of_prediction = truth == label, predicted == label
        assert iou == (of_truth & of_prediction).sum() / (of_truth | of_prediction).sum()


def test_as_torchmetrics():
    classification = pytest.importorskip("torchmetrics.classification")
    generator = torch.Generator().manual_seed(0)
    drawn = {"average": "macro", "num_classes": 7, "ignore_index": 255}
    iou = classification.MulticlassJaccardIndex(**drawn)
    accuracy = classification.MulticlassAccuracy(**drawn)
    matrix = ConfusionMatrix(7)
    for height, width in ((13, 17), (1, 1), (40, 3)):
        # Class 6 is nowhere, class 5 only predicted, class 4 one pixel, and a part is ignored.
        truth = torch.randint(0, 4, (height, width), generator=generator)
        predicted = torch.randint(0, 6, (height, width), generator=generator)
        truth[torch.rand(height, width, generator=generator) < 0.1] = 255
        if height == 1:
            truth[:] = 4
        matrix.add(predicted.to(torch.uint8), truth.to(torch.uint8))
        iou.update(predicted[None], truth[None])
        accuracy.update(predicted[None], truth[None])
    scores = score_matrix(matrix.merged())
    assert scores.mean_iou == pytest.approx(float(iou.compute()), rel=1e-6)
    # It counts class 5 as one that was never found; ours is a mean over the five classes in the truth.
    assert scores.mean_accuracy * 5 / 6 == pytest.approx(float(accuracy.compute()), rel=1e-6)
