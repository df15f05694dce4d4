"""The boundary F-score (Csurka et al. 2013, What is a good evaluation measure for semantic segmentation?).

A class's boundary are its pixels that have a pixel of something else above, below, left or right of them; the
border of the picture is none. Precision is the share of the predicted boundary that has the true one of the
same class within the tolerance, recall the share of the true boundary that has the predicted one, and F is
their harmonic mean.

Theirs are these definitions and the tolerance, 0.75 % of the picture's diagonal, Euclidean. Ours is:

- Each picture has one F of a class, and the figure of the class is the mean over the pictures where the
  class has a boundary in the truth or in the prediction; where only one has it, F is 0.
- A class's pixels beside ignored ones are on its true boundary: VOC draws a band of ignored pixels around
  every object. A predicted boundary pixel that is ignored itself counts where it is near the true boundary;
  elsewhere nobody can say whether it is wrong.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segmentation.metrics.label_figures import Floats, mean_known
from segmentation.types import IGNORED

TOLERANCE = 0.0075  # of the diagonal

_Labels = NDArray[np.integer]
_Flags = NDArray[np.bool_]


def boundary_f(
    prediction: _Labels, labels: _Labels, num_classes: int, *, tolerance: float = TOLERANCE
) -> Floats:
    """(K,) F of each class in one picture; NaN where the class has no boundary in either map.

    Args:
        prediction: (H, W), 0…K−1.
        labels: (H, W) the truth, 0…K−1 or `IGNORED`.
        tolerance: share of the picture's diagonal; the distance in pixels is not rounded.
    Raises:
        ValueError: the maps' sizes differ.
    """
    if prediction.shape != labels.shape:
        raise ValueError(f"the prediction is {prediction.shape}, but the truth {labels.shape}")
    reach = tolerance * float(np.hypot(*labels.shape))
    scores = np.full(num_classes, np.nan)
    edges_of_both = (_edges(prediction), _edges(labels))
    present = np.union1d(np.unique(prediction), np.unique(labels))
    for label in present[present < num_classes].tolist():
        predicted, true = (
            edges & (values == label)
            for edges, values in zip(edges_of_both, (prediction, labels), strict=True)
        )
        if predicted.any() or true.any():
            scores[label] = _f_score(predicted, true, labels == IGNORED, reach)
    return scores


def mean_boundary_f(pictures: Sequence[Floats]) -> tuple[float, Floats]:
    """The mean over the classes, and the figure of each (K,), from the scores of `boundary_f` of pictures."""
    classes = mean_known(np.stack(pictures), axis=0)
    return float(mean_known(classes)), classes


def _f_score(predicted: _Flags, true: _Flags, ignored: _Flags, reach: float) -> float:
    if not predicted.any() or not true.any():
        return 0.0
    hits = predicted & near(true, reach)
    counted = hits | (predicted & ~ignored)
    found = true & near(predicted, reach)
    # The harmonic mean of hits / counted and found / true.
    precision, recall = hits.sum() / max(1, counted.sum()), found.sum() / true.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _edges(labels: _Labels) -> _Flags:
    """(H, W) pixels that have another value above, below, left or right of them."""
    edges = np.zeros(labels.shape, dtype=bool)
    rows, columns = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edges[1:] |= rows
    edges[:-1] |= rows
    edges[:, 1:] |= columns
    edges[:, :-1] |= columns
    return edges


def near(flags: _Flags, reach: float) -> _Flags:
    """(H, W) pixels that have a set one at a Euclidean distance of at most `reach` pixels."""
    height, width = flags.shape
    found = np.zeros_like(flags)
    before = np.zeros((height, width + 1), dtype=np.int32)
    np.cumsum(flags, axis=1, out=before[:, 1:])  # set pixels left of each column
    columns = np.arange(width)
    for down in range(min(int(reach), height - 1) + 1):
        across = int(np.sqrt(reach * reach - down * down))
        left, right = np.maximum(columns - across, 0), np.minimum(columns + across + 1, width)
        row = before[:, right] > before[:, left]
        found[down:] |= row[: height - down]
        found[: height - down] |= row[down:]
    return found
