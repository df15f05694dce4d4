import numpy as np
import pytest

from pictures.class_colours import GREY, cielab, class_colour, text_colour


def distances(colours: list) -> np.ndarray:
    places = cielab(np.array(colours, dtype=float))
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    return apart[~np.eye(len(colours), dtype=bool)]


@pytest.mark.parametrize(("number", "least"), [(10, 45), (80, 20), (128, 14)])
def test_classes_are_told_apart(number: int, least: float):
    assert distances([class_colour(label) for label in range(1, number + 1)]).min() > least


def test_colours_are_neither_black_white_nor_the_grey_of_what_is_ignored():
    others = cielab(np.array([(0, 0, 0), (255, 255, 255), GREY], dtype=float))
    places = cielab(np.array([class_colour(label) for label in range(1, 129)], dtype=float))
    assert np.linalg.norm(places[:, None] - others, axis=-1).min() > 14


def test_a_label_has_always_the_same_colour():
    assert class_colour(1) == (0, 0, 255)
    assert class_colour(129) == class_colour(1)
    assert all(
        isinstance(value, int) and 0 <= value <= 255 for n in range(1, 200) for value in class_colour(n)
    )


def test_text_stands_out_from_its_ground():
    assert text_colour((255, 255, 0)) == "black" and text_colour((0, 0, 255)) == "white"
    for label in range(1, 129):
        ground = class_colour(label)
        text = (0, 0, 0) if text_colour(ground) == "black" else (255, 255, 255)
        lightness = cielab(np.array([ground, text], dtype=float))[:, 0]
        assert abs(lightness[0] - lightness[1]) > 40


def test_cielab_of_known_colours():
    # White is 100, 0, 0; sRGB's red 53.24, 80.09, 67.20 (Lindbloom's calculator, D65).
    found = cielab(np.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]], dtype=float))
    assert np.allclose(found, [[100, 0, 0], [53.24, 80.09, 67.20], [0, 0, 0]], atol=0.02)
