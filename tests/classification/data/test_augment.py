from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from classification.data.augment import (
    PCA_VECTORS,
    area_box,
    centre_box,
    centre_crop,
    flip_half,
    scale_jitter_box,
    shift_colour,
)
from classification.data.data_sets import DataConfig

BOXES = [partial(scale_jitter_box, size=24, short_side=(24, 40)), area_box]


class Scripted:
    """A generator that draws the given fractions of every range, in order."""

    def __init__(self, *fractions):
        self.fractions = list(fractions)

    def uniform(self, low, high):
        return low + self.fractions.pop(0) * (high - low)

    def random(self):
        return self.fractions.pop(0)

    def normal(self, mean, deviation, count):
        return mean + deviation * np.array([self.fractions.pop(0) for _ in range(count)])


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_scale_jitter_at_scale_one_is_a_plain_cut():
    # Short side 256 + 0.5 · 224 = 368, that of the picture.
    # Left 0.5 · (400 - 224) = 88, top 0.25 · (368 - 224) = 36.
    assert scale_jitter_box(Scripted(0.5, 0.5, 0.25), 368, 400, 224, (256, 480)) == (88, 36, 312, 260)


@pytest.mark.parametrize(
    ("fraction", "side"),
    [
        (0.0, 328.125),  # short side 256: 224 · 375 / 256
        (1.0, 175.0),  # short side 480: 224 · 375 / 480
    ],
)
def test_scale_jitter_box_of_a_375_by_500_picture(fraction, side):
    box = scale_jitter_box(Scripted(fraction, 1.0, 0.0), 375, 500, 224, (256, 480))
    assert box == pytest.approx((500 - side, 0, 500, side))


def test_scale_jitter_of_another_crop_size_scales_its_range():
    # A crop of 56 is a quarter of 224: short side 64 … 120. At 64: 56 · 40 / 64 = 35.
    jitter = DataConfig("folder", image_size=56, resize=56).jitter()
    assert jitter == (64, 120)
    assert scale_jitter_box(Scripted(0.0, 0.0, 1.0), 40, 48, 56, jitter) == pytest.approx((0, 5, 35, 40))


def test_area_box_draws_again_what_does_not_fit():
    # 100x200. First: 54 % of 20,000 is 10,800, aspect 1: side 103.9, higher than the picture.
    # Second: 8 % is 1,600: side 40; left 0.25 · (200 - 40) = 40, top 0.5 · (100 - 40) = 30.
    box = area_box(Scripted(0.5, 0.5, 0.0, 0.5, 0.25, 0.5), 100, 200)
    assert box == pytest.approx((40, 30, 80, 70))


def test_area_box_aspect_is_width_over_height():
    # 8 % of 20,000 at aspect 4/3: width √(1600 · 4/3) = 46.188, height √(1600 · 3/4) = 34.641.
    box = area_box(Scripted(0.0, 1.0, 0.0, 0.0), 100, 200)
    assert box == pytest.approx((0, 0, 46.188, 34.641), abs=1e-3)


def test_area_box_gives_up_after_ten_for_the_central_square():
    rng = Scripted(*[1.0, 0.5] * 11)
    assert area_box(rng, 100, 200) == (50, 0, 150, 100)
    assert len(rng.fractions) == 2


def test_centre_crop_cuts_the_middle():
    image = noise(8, 12)
    assert np.array_equal(centre_crop(image, 8, 4), image[2:6, 4:8])


def test_centre_box_of_imagenet_size():
    # 224 · 375 / 256 = 328.125 of the short side; half of the rest on each side.
    assert centre_box(375, 500, 224 / 256) == (85.9375, 23.4375, 414.0625, 351.5625)


def test_cropping_before_resizing_is_resizing_before_cropping():
    # 375x500 to a short side of 300 is 300x400; its central 224 begins at (38, 88).
    image = noise(375, 500)
    whole = Image.fromarray(image).resize((400, 300), Image.Resampling.BILINEAR)
    expected = np.asarray(whole.crop((88, 38, 312, 262))).astype(int)
    assert np.abs(centre_crop(image, 300, 224) - expected).max() <= 1


def test_flip_mirrors_left_and_right_below_one_half():
    image = noise(2, 3)
    assert np.array_equal(flip_half(Scripted(0.499), image), image[:, [2, 1, 0]])
    assert np.array_equal(flip_half(Scripted(0.5), image), image)


def test_shift_colour_by_hand():
    # Random numbers (1, -2, 4) · 0.1 times the factors: 0.02175, -0.00376, 0.0018.
    # R: 255 · (-0.5675 · 0.02175 - 0.7192 · 0.00376 + 0.4009 · 0.0018) = -3.653
    # G: 255 · (-0.5808 · 0.02175 + 0.0045 · 0.00376 - 0.8140 · 0.0018) = -3.591
    # B: 255 · (-0.5836 · 0.02175 + 0.6948 · 0.00376 + 0.4203 · 0.0018) = -2.378
    image = np.array([[[100, 100, 100], [3, 4, 255]]], np.uint8)
    shifted = shift_colour(Scripted(1, -2, 4), image, 0.1)
    assert shifted.tolist() == [[[96, 96, 98], [0, 0, 253]]]
    assert shifted.dtype == np.uint8


def test_shift_colour_clips_bright_pixels():
    # First component at -2 standard deviations: R +0.5675 · 0.0435 · 255 = +6.295, G +6.443, B +6.474.
    image = np.array([[[250, 252, 10]]], np.uint8)
    assert shift_colour(Scripted(-2, 0, 0), image, 0.1).tolist() == [[[255, 255, 16]]]


def test_shift_colour_off_draws_nothing():
    image = noise(2, 2)
    assert shift_colour(Scripted(), image, 0) is image


def test_principal_components_are_orthonormal():
    # A wrong digit or a wrong sign shows here.
    np.testing.assert_allclose(PCA_VECTORS.T @ PCA_VECTORS, np.eye(3), atol=2e-4)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    seed=st.integers(0, 2**63 - 1),
    choose=st.sampled_from(BOXES),
)
def test_boxes_lie_in_the_picture(height, width, seed, choose):
    left, top, right, bottom = choose(np.random.default_rng(seed), height, width)
    assert 0 <= left < right <= width + 1e-9 and 0 <= top < bottom <= height + 1e-9


@pytest.mark.parametrize("choose", BOXES)
def test_the_generator_decides_the_box(choose):
    first, again, other = (choose(np.random.default_rng(seed), 40, 48) for seed in (1, 1, 2))
    assert first == again != other
