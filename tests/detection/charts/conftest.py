"""Two classes worked out by hand, for all that is drawn or chosen from their matching."""

from collections.abc import Callable

import numpy as np
import pytest

from detection.metrics.conventions import ClassMatches


@pytest.fixture(scope="session")
def matches() -> Callable[..., ClassMatches]:
    """matches(label, "+-~", scores, objects): + is a hit, - a false alarm, ~ what is to be ignored."""

    def make(label: int, found: str, scores: list[float], objects: int) -> ClassMatches:
        hit = np.array([[mark == "+" for mark in found]], dtype=bool).reshape(1, -1)
        counts = np.array([[mark != "~" for mark in found]], dtype=bool).reshape(1, -1)
        pictures = np.zeros(len(found), dtype=np.int64)
        return ClassMatches(label, pictures, np.array(scores, float), hit, counts, np.array([objects]))

    return make


@pytest.fixture(scope="session")
def ape(matches: Callable) -> ClassMatches:
    """Four apes. From 0.9: 1 of 1, 1/4 of them; 0.8: 2 of 2, 2/4; 0.6 (two): 3 of 4, 3/4; 0.3: 3 of 5."""
    return matches(1, "++~+--", [0.9, 0.8, 0.7, 0.6, 0.6, 0.3], 4)


@pytest.fixture(scope="session")
def bee(matches: Callable) -> ClassMatches:
    """Two bees. From 0.95: 0 of 1, none found; 0.5: 1 of 2, 1/2; 0.4: 2 of 3, both found; 0.1: 2 of 4."""
    return matches(2, "-++-", [0.95, 0.5, 0.4, 0.1], 2)
