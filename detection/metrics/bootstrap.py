"""How far a mean over pictures would move with other pictures of the same kind (Efron 1979).

Pictures are drawn with replacement and the metric is computed again, without matching anything again: a
picture's matches do not depend on the others, so drawing it twice counts its detections and objects twice.
The interval speaks of the choice of pictures, not of another training of the same network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from detection.metrics.conventions import ClassMatches, Conventions, mean_of
from detection.metrics.matching import Flags, Floats, Indices
from detection.metrics.voc_ap import RECALLS
from foundation.errors import UserError

RESAMPLES, LEVEL = 1000, 0.95  # by default
_AT_ONCE = 100  # resamples, which bounds the memory
_ELEMENTS = 2**18  # of the arrays computed with, which keeps them in the processor's cache


@dataclass(frozen=True)
class Interval:
    """From the (1 − level) / 2 quantile of the resamples to the opposite one; None without an object.

    `figure` is that of all pictures, each once.
    """

    figure: float | None
    low: float | None
    high: float | None
    resamples: int
    level: float
    seed: int


def bootstrap(
    matches: Sequence[ClassMatches],
    num_pictures: int,
    how: Conventions,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """The interval of `mean_of(matches, how)` over the choice of pictures.

    Args:
        matches: at the thresholds of `how`.
    Raises:
        UserError: no resamples.
    """
    values = resampled(class_resamples(matches, num_pictures, how, resamples, seed))
    figure = mean_of(matches, how) if matches else None
    return Interval(figure, *interval_of(values, level), resamples, level, seed)


def interval_of(values: Floats, level: float) -> tuple[float | None, float | None]:
    """Where the middle part of resampled values lies; None twice where none is a number."""
    known = values[~np.isnan(values)]
    edges = (1 - level) / 2, (1 + level) / 2
    low, high = np.quantile(known, edges).tolist() if len(known) else (None, None)
    return low, high


def resampled(aps: Floats) -> Floats:
    """(B,) mean average precision of `class_resamples`; NaN where no picture with an object was drawn."""
    known = ~np.isnan(aps)
    counts = known.sum(axis=0)
    return np.where(counts, np.where(known, aps, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)


def class_resamples(
    matches: Sequence[ClassMatches], num_pictures: int, how: Conventions, resamples: int, seed: int
) -> Floats:
    """(K, resamples) average precision of each class; NaN where no picture with an object was drawn.

    The same seed and number of pictures draw the same pictures, so that two detectors' values belong together
    pair by pair, and their differences give the interval of the difference.

    Raises:
        UserError: no resamples.
    """
    _require_some(resamples)
    values = np.full((len(matches), resamples), np.nan)
    for places, drawn in _draws(num_pictures if matches else 0, resamples, seed):
        for row, of_class in zip(values, matches, strict=True):
            row[places] = _resampled_ap(of_class, drawn, how)
    return values


def mean_resamples(values: Floats | Flags, resamples: int, seed: int) -> Floats:
    """(resamples,) the mean of one value a picture (N,), such as its error; NaN without a picture.

    The same seed draws the same pictures, as with `class_resamples`.

    Raises:
        UserError: no resamples.
    """
    _require_some(resamples)
    means = np.full(resamples, np.nan)
    for places, drawn in _draws(len(values), resamples, seed):
        means[places] = drawn @ values / len(values)
    return means


def bootstrap_mean(
    values: Floats | Flags, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Interval:
    """The interval of the mean of one value a picture (N,); of the differences of two, that of a comparison.

    Raises:
        UserError: no resamples.
    """
    edges = interval_of(mean_resamples(values, resamples, seed), level)
    return Interval(float(np.mean(values)) if len(values) else None, *edges, resamples, level, seed)


def _require_some(resamples: int) -> None:
    if resamples < 1:
        raise UserError(f"--bootstrap must be 1 or more resamples, got {resamples}")


def _draws(num_pictures: int, resamples: int, seed: int) -> Iterator[tuple[slice, Floats]]:
    """Some resamples after the other: which they are, and how often each picture was drawn (B, N)."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples if num_pictures else 0, _AT_ONCE):
        count = min(_AT_ONCE, resamples - start)
        drawn = rng.multinomial(num_pictures, np.full(num_pictures, 1 / num_pictures), size=count)
        yield slice(start, start + count), drawn.astype(np.float64)


def _resampled_ap(matches: ClassMatches, drawn: Floats, how: Conventions) -> Floats:
    """(B,) of one class, from how often each picture was drawn (B, N); NaN where it has no object."""
    objects = drawn @ matches.objects
    aps = np.zeros(len(drawn))
    for hit, counts in zip(matches.hit, matches.counts, strict=True):
        pictures, hits = matches.pictures[counts], np.flatnonzero(hit[counts])
        step = max(1, _ELEMENTS // max(1, len(pictures)))
        for start in range(0, len(drawn), step):
            rows = slice(start, start + step)
            aps[rows] += _weighted_ap(drawn[rows][:, pictures], hits, np.maximum(objects[rows], 1), how)
    return np.where(objects > 0, aps / len(matches.hit), np.nan)


def _weighted_ap(weights: Floats, hits: Indices, objects: Floats, how: Conventions) -> Floats:
    """(B,) where detection d, the d-th best, stands weights[:, d] times (B, D).

    Copies of a detection make a step of the curve finer, but lie below its envelope: one point each will do.
    """
    if not len(hits):
        return np.zeros(len(weights))
    found = np.cumsum(weights[:, hits], axis=1)
    precision = found / np.maximum(np.cumsum(weights, axis=1)[:, hits], 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    if how.recalls == "area":
        return (weights[:, hits] * envelope).sum(axis=1) / objects
    points = RECALLS[how.recalls]
    passed = np.searchsorted(points, found / objects[:, None], side="right")
    return (np.diff(passed, axis=1, prepend=0) * envelope).sum(axis=1) / len(points)
