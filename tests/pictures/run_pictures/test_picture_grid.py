import numpy as np
import pytest
from PIL import Image

from pictures.run_pictures.picture_grid import GAP, LINE, as_grid, captioned, fitting


def plain(width: int, height: int, colour: str = "red") -> Image.Image:
    return Image.new("RGB", (width, height), colour)


@pytest.mark.parametrize(
    ("size", "fitted", "scale"),
    [
        ((800, 400), (400, 200), 0.5),
        ((300, 200), (300, 200), 1.0),  # no enlargement by a part of itself
        ((150, 10), (300, 20), 2.0),
        ((1000, 1), (400, 1), 0.4),
    ],
)
def test_pictures_fit_into_their_side(size: tuple, fitted: tuple, scale: float):
    picture, factor = fitting(plain(*size), 400)
    assert (picture.size, factor) == (fitted, scale)


def test_a_caption_stands_above_the_picture():
    cell = np.asarray(captioned(plain(60, 20), "H", "black", 80))
    assert cell.shape == (20 + LINE, 80, 3)
    assert (cell[LINE:, :60] == (255, 0, 0)).all() and (cell[LINE:, 60:] == 255).all()
    assert (cell[:LINE].min(axis=2) < 100).any()


@pytest.mark.parametrize("text", ["", "a name much wider than its picture", "猫 قطة кошка", "\n\x1b"])
def test_any_caption_keeps_to_its_place(text: str):
    assert captioned(plain(20, 20), text, "black", 0).size == (20, 20 + LINE)


def test_rows_and_columns_are_as_large_as_their_largest():
    grid = np.asarray(as_grid([plain(10, 5), plain(4, 8, "blue"), plain(6, 3, "green")], 2))
    assert grid.shape == (8 + GAP + 3, 10 + GAP + 4, 3)
    assert (grid[0, 0], grid[0, 10 + GAP], grid[8 + GAP, 0])[1].tolist() == [0, 0, 255]
    assert grid[8 + GAP, 0].tolist() == [0, 128, 0]
    assert (grid[8 : 8 + GAP] == 255).all()


def test_a_grid_without_pictures_is_one_pixel():
    assert as_grid([], 4).size == (1, 1)
