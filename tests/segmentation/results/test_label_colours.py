"""Colours of classes over a picture."""

import numpy as np
from PIL import Image

from pictures.class_colours import GREY
from segmentation.data.label_maps import palette
from segmentation.results.label_colours import OPACITY, draw_legend, tinted
from segmentation.types import IGNORED


def test_the_picture_shows_through():
    image = np.full((1, 3, 3), 100, dtype=np.uint8)
    found = tinted(image, np.array([[0, 1, IGNORED]], dtype=np.uint8))
    assert found[0, 0].tolist() == [100, 100, 100]  # the background has no colour
    for place, index in ((1, 1), (2, IGNORED)):
        expected = np.rint(100 * (1 - OPACITY) + palette()[index] * OPACITY)
        assert found[0, place].tolist() == expected.tolist()


def test_the_legend_names_the_largest_class_first():
    labels = np.zeros((60, 80), dtype=np.uint8)
    labels[50:, :70], labels[:, 70:] = 2, 1  # 700 and 600 pixels
    white = Image.new("RGB", (80, 60), "white")
    drawn = draw_legend(white, labels, ["ground", "cat", "dog", "absent"])
    # Letters of 10 pixels make lines of 15.
    assert [drawn.getpixel((0, y)) for y in (0, 14, 15, 29, 30)] == [
        *[tuple(palette()[2])] * 2,
        *[tuple(palette()[1])] * 2,
        (255, 255, 255),
    ]
    assert white.getpixel((0, 0)) == (255, 255, 255)  # the picture itself stays


def test_classes_without_room_are_counted():
    labels = np.arange(40 * 30, dtype=np.int64).reshape(30, 40) % 5
    drawn = draw_legend(Image.new("RGB", (40, 30)), labels.astype(np.uint8), list("abcde"))
    assert drawn.size == (40, 30)  # two lines: the first class, and "3 more"
    assert drawn.getpixel((0, 0)) == tuple(palette()[1]) and drawn.getpixel((0, 15)) == GREY
    alone = draw_legend(Image.new("RGB", (40, 30)), np.zeros((30, 40), dtype=np.uint8), ["ground", "cat"])
    assert alone.getbbox() is None  # nothing is drawn where there is only class 0
