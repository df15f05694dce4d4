"""How far the mIoU would move with other pictures of the same kind (Efron 1979).

Pictures are drawn with replacement, and their counts added anew. The interval speaks of the choice of
pictures, not of another training of the same network.
"""

from dataclasses import dataclass

import numpy as np

from foundation.errors import UserError
from segmentation.metrics.confusion_matrix import Counts, PictureCounts
from segmentation.metrics.label_figures import Floats, mean_known, quotients

RESAMPLES, LEVEL = 1000, 0.95  # by default
_AT_ONCE = 100  # resamples, which bounds the memory


@dataclass(frozen=True)
class IouInterval:
    """From the (1 − level) / 2 quantile of the resamples to the opposite one; NaN without a picture.

    `figure` is the mIoU of all pictures, each once.
    """

    figure: float
    low: float
    high: float
    resamples: int
    level: float
    seed: int


def bootstrap_iou(
    pictures: PictureCounts, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> IouInterval:
    """The interval of the mIoU over the choice of pictures.

    Raises:
        UserError: no resamples.
    """
    values = resampled_ious(pictures, resamples, seed)
    known = values[~np.isnan(values)]
    edges = (1 - level) / 2, (1 + level) / 2
    low, high = np.quantile(known, edges).tolist() if len(known) else (np.nan, np.nan)
    figure = float(mean_known(total_ious(pictures)))
    return IouInterval(figure, low, high, resamples, level, seed)


def resampled_ious(pictures: PictureCounts, resamples: int, seed: int) -> Floats:
    """(resamples,) mIoU of pictures drawn with replacement: the means of `resampled_class_ious`."""
    return mean_known(resampled_class_ious(pictures, resamples, seed), axis=1)


def resampled_class_ious(pictures: PictureCounts, resamples: int, seed: int) -> Floats:
    """(resamples, K) IoU of each class in pictures drawn with replacement.

    A class that those drawn neither have nor are predicted to have is NaN. The same seed and number of
    pictures draw the same pictures, so that two networks' values belong together pair by pair, and their
    differences give the interval of the difference.

    Raises:
        UserError: no resamples.
    """
    if resamples < 1:
        raise UserError(f"--bootstrap must be 1 or more resamples, got {resamples}")
    number, rng = len(pictures.hits), np.random.default_rng(seed)
    values = np.full((resamples, pictures.hits.shape[1]), np.nan)
    counts = [part.astype(np.float64) for part in pictures]  # whole numbers below 2**53: sums stay exact
    for start in range(0, resamples if number else 0, _AT_ONCE):
        size = min(_AT_ONCE, resamples - start)
        drawn = rng.multinomial(number, np.full(number, 1 / number), size=size).astype(np.float64)
        values[start : start + size] = _ious(*(drawn @ part for part in counts))
    return values


def total_ious(pictures: PictureCounts) -> Floats:
    """(K,) IoU of each class in all pictures, each once."""
    return _ious(*pictures.total())[0]


def _ious(hits: Counts | Floats, truth: Counts | Floats, predicted: Counts | Floats) -> Floats:
    return quotients(hits, truth + predicted - hits)
