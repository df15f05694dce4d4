"""Colours of classes over a picture."""

import numpy as np

from segmentation.data.label_maps import palette
from segmentation.results.label_colours import OPACITY, tinted
from segmentation.types import IGNORED


def test_the_picture_shows_through():
    image = np.full((1, 3, 3), 100, dtype=np.uint8)
    found = tinted(image, np.array([[0, 1, IGNORED]], dtype=np.uint8))
    assert found[0, 0].tolist() == [100, 100, 100]  # the background has no colour
    for place, index in ((1, 1), (2, IGNORED)):
        expected = np.rint(100 * (1 - OPACITY) + palette()[index] * OPACITY)
        assert found[0, place].tolist() == expected.tolist()
