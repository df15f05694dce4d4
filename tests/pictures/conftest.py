"""Pictures that the tests of several modules decode."""

from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture(scope="session")
def photograph() -> Callable[[int, int], np.ndarray]:
    """Makes pictures (height, width, 3) of smooth shades with some texture."""

    def make(height: int, width: int) -> np.ndarray:
        rows, columns = np.mgrid[:height, :width]
        waves = ((31, 17), (13, 29), (23, 23))
        shades = [128 + 100 * np.sin(rows / a) * np.cos(columns / b) for a, b in waves]
        noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
        return np.clip(np.stack(shades, axis=2) + noise, 0, 255).astype(np.uint8)

    return make
