"""Masks drawn at any size and of any part of a picture."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pictures.annotations.coco_masks import draw_mask

# Every decoded mask brings one, from inside pycocotools.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STAR = [[50, 2, 60, 35, 97, 38, 67, 57, 80, 92, 50, 70, 22, 93, 33, 57, 3, 39, 40, 35.5]]
BLOCKS = [[4, 4, 12, 4, 12, 8, 4, 8], [20, 10, 24, 10, 24, 30, 20, 30]]
SOURCE = (100, 120)


def test_at_the_files_size_masks_are_cocos():
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(STAR, *SOURCE)))
    assert np.array_equal(draw_mask(STAR, SOURCE), expected)
    run_length: Any = coco_mask.encode(np.asfortranarray(expected))
    assert np.array_equal(draw_mask(run_length, SOURCE), expected)


def test_polygons_are_drawn_at_the_size_wanted():
    # Twice as tall, half as wide: rows 8-15 and 20-59, columns 2-5 and 10-11. Nothing is one pixel off.
    expected = np.zeros((200, 60), dtype=bool)
    expected[8:16, 2:6] = expected[20:60, 10:12] = True
    assert np.array_equal(draw_mask(BLOCKS, SOURCE, (200, 60)), expected)


def test_drawing_is_nearer_to_the_outline_than_resizing():
    # The mask drawn four times as large says which share of each pixel the object covers.
    covered = draw_mask(STAR, SOURCE, (800, 960)).reshape(200, 4, 240, 4).mean(axis=(1, 3)) > 0.5
    drawn = draw_mask(STAR, SOURCE, (200, 240))
    resized = draw_mask(coco_mask.encode(np.asfortranarray(draw_mask(STAR, SOURCE))), SOURCE, (200, 240))
    assert (drawn ^ covered).sum() < 0.5 * (resized ^ covered).sum()


@pytest.mark.parametrize("window", [(0, 0, 200, 240), (30, 50, 64, 100), (199, 0, 1, 240), (90, 239, 20, 1)])
@pytest.mark.parametrize("kind", ["polygons", "run-length", "numbers"])
def test_a_window_is_a_part_of_the_whole(kind: str, window: tuple[int, int, int, int]):
    segmentation: Any = STAR
    if kind != "polygons":
        segmentation = coco_mask.encode(np.asfortranarray(draw_mask(STAR, SOURCE)))
    if kind == "numbers":
        flat = draw_mask(STAR, SOURCE).ravel(order="F")
        ends = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(int)))
        counts = np.diff([0, *ends, flat.size]).tolist()
        segmentation = {"size": list(SOURCE), "counts": counts}
    whole = draw_mask(segmentation, SOURCE, (200, 240))
    top, left, height, width = window
    part = draw_mask(segmentation, SOURCE, (200, 240), window)
    assert part.shape == (height, width)
    # COCO's drawing rounds corners to fifths of a pixel, left of or above the window to the other side.
    allowed = 4 if kind == "polygons" else 0
    assert (part ^ whole[top : top + height, left : left + width]).sum() <= allowed


def test_corners_far_outside_cost_no_memory():
    # Drawn as they stand, edges of 10^9 pixels would take gigabytes; inside the picture they change nothing.
    far = [[-1e9, 40, 1e9, 40, 1e9, 60, -1e9, 60]]
    mask = draw_mask(far, SOURCE)
    assert mask[40:60].all() and mask.sum() == 20 * 120
    assert not draw_mask([[1e9, 1e9, 2e9, 1e9, 2e9, 2e9]], SOURCE).any()
