"""How sure an error is, and the difference of two: intervals over the choice of pictures.

They speak of other pictures of the same kind, not of another training of the same network.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError

LEVEL, _QUANTILE = 0.95, 1.959963984540054  # of the normal distribution


def wilson(wrong: int, pictures: int) -> tuple[float, float]:
    """95 % interval of an error, 0…1 (Wilson 1927): sound also where none or all are wrong.

    Raises:
        UserError: there is no picture, or more are wrong than there are.
    """
    if not 0 <= wrong <= pictures or not pictures:
        raise UserError(f"{wrong} wrong of {pictures} pictures; expected at least one, and no more wrong")
    share, z2 = wrong / pictures, _QUANTILE**2
    middle = (share + z2 / (2 * pictures)) / (1 + z2 / pictures)
    half = _QUANTILE / (1 + z2 / pictures)
    half *= math.sqrt(share * (1 - share) / pictures + z2 / (4 * pictures**2))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class PairedErrors:
    """The errors of two classifiers on the same pictures.

    Attributes:
        difference: second less first, 0…1.
        low, high: its 95 % interval, by the bootstrap over pictures.
        only_first, only_second: pictures that only that one gets wrong.
        p_value: of these two counts, were both classifiers equally good (McNemar 1947, exact).
    """

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p_value: float


def compare_errors(
    first: NDArray[np.bool_], second: NDArray[np.bool_], *, resamples: int, seed: int = 0
) -> PairedErrors:
    """Compares which pictures (N,) two classifiers get wrong.

    A resample of the pictures is told by how many only one gets wrong, so drawing these numbers is drawing
    the pictures.

    Raises:
        UserError: the pictures are not the same number, or there is none, or no resamples.
    """
    if first.shape != second.shape or not len(first) or resamples < 1:
        raise UserError(
            f"{len(first)} and {len(second)} pictures, {resamples} resamples; expected the same pictures, at "
            "least one, and at least one resample"
        )
    count = len(first)
    ones = int((first & ~second).sum()), int((second & ~first).sum())
    shares = [number / count for number in ones]
    drawn = np.random.default_rng(seed).multinomial(
        count, [*shares, max(0.0, 1 - sum(shares))], size=resamples
    )
    differences = (drawn[:, 1] - drawn[:, 0]) / count
    low, high = np.quantile(differences, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    return PairedErrors((ones[1] - ones[0]) / count, low, high, *ones, _sign_test(*ones))


def _sign_test(one: int, other: int) -> float:
    """Twice the chance of so few or fewer of `one + other` fair coins, at most 1."""
    total = one + other
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) - total * math.log(2)
        for k in range(min(one, other) + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(value) for value in logs))
