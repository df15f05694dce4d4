from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from detection.results.prediction_drawing import draw, outline
from detection.types import Prediction, Target

GREY = [128, 128, 128]
NAMES = ["cat", "dog"]


def found(boxes: list, labels: list[int], scores: list[float]) -> Prediction:
    return Prediction(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64),
        torch.tensor(scores),
    )  # fmt: skip


def truth(boxes: list, labels: list[int], ignore: list[bool]) -> Target:
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64),
        torch.tensor(ignore, dtype=torch.bool), "a", (100, 100),
    )  # fmt: skip


def black(height: int = 100, width: int = 100) -> np.ndarray:
    return np.zeros((height, width, 3), dtype=np.uint8)


NOTHING = found([], [], [])


def test_nothing_found_is_the_picture():
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(draw(image, NOTHING, NAMES)), image)


def test_box_lies_on_the_border_pixels_inside():
    # Edges (20, 40, 60, 80) enclose the pixels 20 … 59 and 40 … 79.
    drawn = np.asarray(draw(black(), found([[20, 40, 60, 80]], [1], [0.9]), NAMES))
    rows, columns = np.nonzero(drawn[40:].any(axis=2))
    assert (columns.min(), columns.max(), rows.min() + 40, rows.max() + 40) == (20, 59, 40, 79)
    assert drawn[50, 59].any() and not drawn[50, 58].any() and not drawn[50, 40].any()


def test_box_of_the_whole_picture_shows_on_all_four_sides():
    drawn = np.asarray(draw(black(60, 80), found([[0, 0, 80, 60]], [1], [0.9]), NAMES))
    assert all(side.any(axis=1).all() for side in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]))


def test_edges_far_outside_are_not_drawn_pixel_by_pixel():
    # Pillow alone takes half a minute for the first.
    far, near = (found([[-size, 20, size, 80]], [1], [0.9]) for size in (1e9, 120))
    assert np.array_equal(np.asarray(draw(black(), far, NAMES)), np.asarray(draw(black(), near, NAMES)))


def test_label_lies_above_the_box_or_inside_the_picture():
    above = np.asarray(draw(black(), found([[20, 50, 60, 80]], [1], [0.9]), NAMES))
    assert above[:50].any() and not above[:30].any()
    # At the corner there is no room above, nor for the text's width: the plate goes down and left.
    corner = np.asarray(draw(black(), found([[95, 0, 100, 50]], [1], [0.9]), NAMES))
    assert corner[:5, 80:95].any(axis=2).all()


def test_scores_below_the_threshold_are_left_out():
    prediction = found([[20, 40, 60, 80]], [1], [0.5])
    assert np.asarray(draw(black(), prediction, NAMES)).any()
    assert not np.asarray(draw(black(), prediction, NAMES, score_threshold=0.51)).any()


def test_classes_have_colours_of_their_own_and_the_surest_lies_on_top():
    boxes = [[20, 40, 60, 80]]
    one, other = (np.asarray(draw(black(), found(boxes, [n], [0.9]), NAMES))[60, 20].tolist() for n in (1, 2))
    assert one != other
    both = draw(black(), found(boxes * 2, [1, 2], [0.6, 0.9]), NAMES)
    assert np.asarray(both)[60, 20].tolist() == other
    both = draw(black(), found(boxes * 2, [1, 2], [0.9, 0.6]), NAMES)
    assert np.asarray(both)[60, 20].tolist() == one


def test_truth_stands_on_the_right_with_ignored_objects_in_grey():
    target = truth([[10, 40, 30, 60], [50, 40, 90, 60]], [2, 1], [False, True])
    drawn = np.asarray(draw(black(), found([[20, 40, 60, 80]], [2], [0.9]), NAMES, target=target))
    assert drawn.shape == (100, 200, 3)
    assert drawn[50, 20].tolist() == drawn[50, 110].tolist() != [0, 0, 0]  # both label 2
    assert drawn[50, 150].tolist() == GREY
    assert not drawn[70, 110:].any()


def test_truth_without_objects():
    drawn = draw(black(), NOTHING, NAMES, target=truth([], [], []))
    assert drawn.size == (200, 100)
    assert not np.asarray(drawn).any()


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [5, 5, 5.5, 9], [-20, -20, 300, 300], [300, 300, 310, 310]])
def test_boxes_without_area_and_beyond_the_picture(box: list[float]):
    assert draw(black(), found([box], [1], [1.0]), NAMES).size == (100, 100)


def test_one_pixel():
    assert draw(black(1, 1), found([[0, 0, 1, 1]], [1], [1.0]), NAMES).size == (1, 1)


def test_masks_are_half_in_their_colour_and_outlined_on_both_sides():
    box = [[20, 40, 60, 80]]
    mask = np.zeros((100, 100), dtype=bool)
    mask[50:60, 30:40] = True
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    prediction = replace(
        found(box * 2, [1, 1], [0.9, 0.3]),
        masks=[
            {"size": [100, 100], "counts": encoded["counts"].decode()},
            {"size": [100, 100], "counts": "not drawn, since the score is low"},
        ],
    )
    target = replace(truth(box, [1], [False]), mask=lambda number: mask)
    drawn = np.asarray(draw(black() + 100, prediction, NAMES, target=target)).astype(int)
    colour = drawn[60, 20]
    for side in (drawn[:, :100], drawn[:, 100:]):
        assert (side[51:59, 31:39] == (100 + colour) // 2).all()
        for edge in (side[50, 30:40], side[59, 30:40], side[50:60, 30], side[50:60, 39]):
            assert (edge == colour).all()
        assert (side[61:79, 22:58] == 100).all()


def test_outline_of_a_mask_lies_inside_it():
    mask = np.zeros((9, 9), dtype=bool)
    mask[0:7, 2:9] = True  # reaches the picture's border above and on the right
    expected = mask.copy()
    expected[2:5, 4:7] = False
    assert np.array_equal(outline(mask, 2), expected)
    assert np.array_equal(outline(mask[:1], 2), mask[:1])  # too thin to have an inside
    assert not outline(np.zeros((3, 4), dtype=bool), 1).any()


@pytest.mark.parametrize("name", ["Größe", "кошка", "قطة", "猫", "a$b_$", "\x1b[1m\u202e", ""])
def test_names_in_any_script_stand_on_a_plate(name: str):
    drawn = np.asarray(draw(black(), found([[20, 50, 60, 80]], [1], [0.9]), [name, "dog"]))
    plate = drawn[36:50, 20:90].reshape(-1, 3)
    letters = (plate.min(axis=1) > 200).sum()  # white on blue
    assert letters > 20


def test_the_picture_given_stays_as_it_is():
    array, picture = black(), Image.new("L", (100, 100))
    for image in (array, picture):
        assert np.asarray(draw(image, found([[20, 40, 60, 80]], [1], [0.9]), NAMES)).any()
        assert not np.asarray(image).any()
