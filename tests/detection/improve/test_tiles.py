"""Tiles of a picture, and which of them may report what."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.improve.tiles import MARGIN, may_speak, regions_of, seen_whole, tile_windows
from detection.types import Window
from foundation.errors import UserError

sides, tile_sides, overlaps = st.integers(1, 400), st.integers(32, 200), st.floats(0, 0.95)


def test_tiles_by_hand():
    # Of 100 pixels and tiles of 40 that share 8, tiles begin at 0, 32 and 64 > 60: the last is moved to 60.
    assert tile_windows((40, 100), 40, 0.2) == [(0, 0, 40, 40), (0, 32, 40, 40), (0, 60, 40, 40)]
    # A picture narrower than a tile has narrower tiles; 0.19 of 40 pixels is rounded up to 8.
    assert tile_windows((72, 30), 40, 0.19) == [(0, 0, 40, 30), (32, 0, 40, 30)]
    assert tile_windows((81, 81), 40, 0.0)[::4] == [(0, 0, 40, 40), (40, 40, 40, 40), (41, 41, 40, 40)]


def test_a_slip_of_the_pen_is_no_night_of_waiting():
    assert len(tile_windows((3200, 3200), 32, 0.0)) == 10_000
    message = r"tiles of 32 pixels overlapping by 0.99 cut 4000x3000 pixels into 11783961, more than 10000"
    with pytest.raises(UserError, match=message):
        tile_windows((3000, 4000), 32, 0.99)


def test_the_whole_picture_goes_with_several_tiles():
    assert regions_of((40, 40), 40, 0.2) == [(0, 0, 40, 40)]
    assert regions_of((30, 20), 40, 0.2) == [(0, 0, 30, 20)]
    assert regions_of((40, 72), 40, 0.2)[-1] == (0, 0, 40, 72)


@settings(deadline=None, max_examples=50)
@given(st.tuples(sides, sides), tile_sides, overlaps)
def test_tiles_cover_the_picture_and_overlap(size: tuple[int, int], tile: int, overlap: float):
    windows = tile_windows(size, tile, overlap)
    assert len(set(windows)) == len(windows)
    assert {window[2:] for window in windows} == {(min(tile, size[0]), min(tile, size[1]))}
    for axis in (0, 1):
        starts = sorted({window[axis] for window in windows})
        length = min(tile, size[axis])
        assert starts[0] == 0 and starts[-1] + length == size[axis]
        shared = [before + length - after for before, after in zip(starts, starts[1:], strict=False)]
        assert all(pixels >= min(overlap * tile, tile - 1) for pixels in shared)
        # One tile less would not do.
        assert len(starts) == 1 + max(
            0, math.ceil((size[axis] - tile) / max(1, tile - math.ceil(overlap * tile)))
        )
    assert len(windows) == len({w[0] for w in windows}) * len({w[1] for w in windows})


def sees_whole(box: list[float], window: Window, size: tuple[int, int]) -> bool:
    """`seen_whole` of one box and one region, side by side."""
    top, left, height, width = window
    margin = MARGIN * min(height, width)
    x1, y1, x2, y2 = box
    return (
        (left == 0 or x1 >= left + margin)
        and (top == 0 or y1 >= top + margin)
        and (left + width == size[1] or x2 <= left + width - margin)
        and (top + height == size[0] or y2 <= top + height - margin)
    )


@settings(deadline=None, max_examples=50)
@given(st.tuples(sides, sides), st.integers(32, 120), st.floats(0, 0.6), st.data())
def test_who_sees_an_object_whole(size: tuple[int, int], tile: int, overlap: float, data: st.DataObject):
    # Quarters of pixels, so that single precision rounds nothing that the slow version does not.
    x = st.integers(0, 4 * size[1]).map(lambda quarter: quarter / 4)
    y = st.integers(0, 4 * size[0]).map(lambda quarter: quarter / 4)
    corners = data.draw(st.lists(st.tuples(x, y, x, y), max_size=8))
    boxes = [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in corners]
    windows = regions_of(size, tile, overlap)
    tensor = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    expected = [[sees_whole(box, window, size) for window in windows] for box in boxes]
    assert seen_whole(tensor, windows, size).tolist() == expected
    speaks = may_speak(tensor, windows, size).tolist()
    for row, of_box in zip(speaks, expected, strict=True):
        tiles = of_box[:-1] if len(windows) > 1 else of_box
        assert row == (of_box if len(windows) == 1 else [*tiles, not any(tiles)])


def test_a_cut_part_is_silent_beside_the_tile_that_sees_the_object():
    # Tiles of 40 at 0 and 32, and the whole; borders inside at 40 and 32, margin 0.8.
    windows, size = regions_of((40, 72), 40, 0.2), (40, 72)
    assert windows == [(0, 0, 40, 40), (0, 32, 40, 40), (0, 0, 40, 72)]
    boxes = {
        "in the first tile": [5.0, 5, 20, 20],
        "in both": [33.0, 5, 39, 20],
        "cut by the first tile's border": [33.0, 5, 40, 20],
        "ends a little before the cut": [33.0, 5, 39.5, 20],
        "larger than the overlap": [20.0, 5, 60, 20],
        "what the first tile sees of it": [20.0, 5, 40, 20],
        "touches the picture's own border": [0.0, 0, 20, 40],
    }
    assert may_speak(torch.tensor(list(boxes.values())), windows, size).tolist() == [
        [True, False, False],
        [True, True, False],
        [False, True, False],
        [False, True, False],
        [False, False, True],
        [False, False, True],
        [True, False, False],
    ]


def test_without_boxes():
    assert may_speak(torch.zeros(0, 4), [(0, 0, 40, 40), (0, 32, 40, 40)], (40, 72)).shape == (0, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_boxes_of_any_precision(dtype: torch.dtype):
    assert seen_whole(torch.ones(1, 4, dtype=dtype), [(0, 0, 9, 9)], (9, 9)).tolist() == [[True]]
