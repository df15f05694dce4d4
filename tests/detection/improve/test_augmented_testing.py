"""Mirrored and resized copies, and the way back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.data.dataset_splits import DataConfig
from detection.data.transforms import View
from detection.improve.augmented_testing import Augmentation, augmentations_of, boxes_of_file, grids_of_file
from detection.improve.improve_options import Augmentations

DATA = DataConfig(short_side=400, max_side=600)


def test_which_copies():
    assert augmentations_of(Augmentations(), DATA) == [Augmentation(400, 600)]
    assert augmentations_of(Augmentations(flip=True), DATA) == [
        Augmentation(400, 600),
        Augmentation(400, 600, mirrored=True),
    ]
    # 0.75, 1 and 1.25 times 400; the long side's limit likewise.
    scales = [(300, 450), (400, 600), (500, 750)]
    assert augmentations_of(Augmentations(short_sides=()), DATA) == [Augmentation(*s) for s in scales]
    both = augmentations_of(Augmentations(True, (200, 800)), DATA)
    assert [(one.short_side, one.max_side, one.mirrored) for one in both] == [
        (200, 300, False),
        (200, 300, True),
        (800, 1200, False),
        (800, 1200, True),
    ]


def test_a_tiny_short_side_gives_no_copy_twice():
    assert augmentations_of(Augmentations(short_sides=()), DataConfig(short_side=1, max_side=2)) == [
        Augmentation(1, 2)
    ]


def test_a_view_is_resized_as_in_evaluation():
    assert Augmentation(400, 600).view((100, 200)) == View((100, 200), (300, 600))
    assert Augmentation(400, 600, mirrored=True).view((100, 100)) == View((100, 100), (400, 400), None, True)


def test_boxes_by_hand():
    # A file of 10 x 6 (width x height) seen as 20 x 18, mirrored: x = 20 − 2 x' …, y three times as large.
    view = View((6, 10), (18, 20), mirrored=True)
    assert boxes_of_file(torch.tensor([[4.0, 3, 10, 18]]), view).tolist() == [[5, 1, 8, 6]]


@settings(deadline=None, max_examples=50)
@given(st.booleans(), *[st.integers(1, 500)] * 4, st.data())
def test_boxes_there_and_back(
    mirrored: bool, height: int, width: int, high: int, wide: int, data: st.DataObject
):
    coordinate = st.floats(0, 500, width=32)
    boxes = torch.tensor(data.draw(st.lists(st.tuples(*[coordinate] * 4), max_size=4))).reshape(-1, 4)
    view = View((height, width), (high, wide), mirrored=mirrored)
    # Mirroring loses digits by the width of the view, which the scale turns into pixels of the file.
    loss = 1e-4 * max(1, width / wide, height / high)
    torch.testing.assert_close(boxes_of_file(view.boxes(boxes), view), boxes, rtol=1e-5, atol=loss)


@pytest.mark.parametrize("mirrored", [False, True])
def test_masks_turn_with_the_picture(mirrored: bool):
    grids = torch.arange(8.0).view(1, 2, 4)
    turned = grids_of_file(grids, View((6, 10), (6, 10), mirrored=mirrored))
    assert turned.tolist() == ([[[3, 2, 1, 0], [7, 6, 5, 4]]] if mirrored else grids.tolist())
