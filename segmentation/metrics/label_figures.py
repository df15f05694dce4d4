"""The figures of a confusion matrix (Long et al. 2015, §5), in shares from 0 to 1.

A class that is neither in the truth nor predicted has no IoU (NaN), and means leave it out. A class that is
only predicted has IoU 0, and means count it. So do the devkit of VOC and newer releases of torchmetrics'
JaccardIndex with average="macro". Nothing is rounded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segmentation.metrics.confusion_matrix import Counts

Floats = NDArray[np.float64]


def quotients(hits: Counts | Floats, of: Counts | Floats) -> Floats:
    """hits / of, NaN where `of` is 0."""
    return np.where(of > 0, hits / np.maximum(of, 1), np.nan)


def mean_known(values: Floats, axis: int | None = None) -> Floats:
    """The mean of the values that are numbers; NaN where there is none."""
    known = ~np.isnan(values)
    return quotients(np.where(known, values, 0).sum(axis=axis), known.sum(axis=axis))


def class_ious(matrix: Counts) -> Floats:
    """(K,) intersection over union: hits / (true or predicted pixels)."""
    hits = matrix.diagonal()
    return quotients(hits, matrix.sum(axis=1) + matrix.sum(axis=0) - hits)


def class_accuracies(matrix: Counts) -> Floats:
    """(K,) share of each class's pixels that were found; NaN where the truth has none."""
    return quotients(matrix.diagonal(), matrix.sum(axis=1))


def mean_iou(matrix: Counts) -> float:
    """The mean of `class_ious`; NaN without a counted pixel."""
    return float(mean_known(class_ious(matrix)))


def mean_accuracy(matrix: Counts) -> float:
    """The mean of `class_accuracies` over the classes in the truth."""
    return float(mean_known(class_accuracies(matrix)))


def pixel_accuracy(matrix: Counts) -> float:
    """The share of the counted pixels whose class was predicted."""
    return float(quotients(matrix.trace(), matrix.sum()))


def frequency_weighted_iou(matrix: Counts) -> float:
    """The mean of the IoUs weighted by the true pixels of each class."""
    weighted = np.nan_to_num(class_ious(matrix)) * matrix.sum(axis=1)
    return float(quotients(weighted.sum(), matrix.sum()))


@dataclass(frozen=True)
class LabelScores:
    """All figures of a confusion matrix; NaN where there is nothing to compute one from."""

    mean_iou: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float
    class_ious: Floats  # (K,)
    class_accuracies: Floats  # (K,)


def score_matrix(matrix: Counts) -> LabelScores:
    """The figures of a confusion matrix (K, K)."""
    return LabelScores(
        mean_iou=mean_iou(matrix),
        pixel_accuracy=pixel_accuracy(matrix),
        mean_accuracy=mean_accuracy(matrix),
        frequency_weighted_iou=frequency_weighted_iou(matrix),
        class_ious=class_ious(matrix),
        class_accuracies=class_accuracies(matrix),
    )
