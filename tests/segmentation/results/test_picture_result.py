"""What a picture's label map says of it."""

import numpy as np
import pytest

from segmentation.results.picture_result import SegmentedPicture


@pytest.fixture
def result() -> SegmentedPicture:
    """Eight pixels: 2 of ground, 5 of dog, 1 of cat."""
    labels = np.array([[0, 2, 2, 2], [0, 2, 2, 1]], dtype=np.uint8)
    return SegmentedPicture(np.full((2, 4, 3), 100, dtype=np.uint8), labels, ["ground", "cat", "dog", "cow"])


def test_shares_and_names(result: SegmentedPicture):
    assert result.shares == {"ground": 0.25, "cat": 0.125, "dog": 0.625, "cow": 0.0}
    assert result.names == ["dog", "ground", "cat"]
    assert repr(result) == "SegmentedPicture(4x2 pixels: dog 62 %, ground 25 %, cat 12 %)"


def test_the_mask_of_a_class(result: SegmentedPicture):
    assert np.argwhere(result.mask("cat")).tolist() == [[1, 3]] and not result.mask("cow").any()
    with pytest.raises(ValueError, match="horse"):
        result.mask("horse")


def test_the_drawing_has_the_size_of_the_picture(result: SegmentedPicture):
    assert result.draw().size == (4, 2)
    assert result.pixels.min() == result.pixels.max() == 100  # which stays as it is
