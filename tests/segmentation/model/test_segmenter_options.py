"""What the section `model` of a configuration may say."""

import pytest

from segmentation.model.segmenter_options import SegmenterOptions


def test_two_starts_exclude_each_other():
    with pytest.raises(
        ValueError, match=r"weights=a brings the backbone's weights, and backbone_weights=b names"
    ):
        SegmenterOptions(weights="a", backbone_weights="b")


def test_stages_that_do_not_exist():
    with pytest.raises(ValueError, match="frozen_stages must be from 0 to 5, got 6"):
        SegmenterOptions(frozen_stages=6)
