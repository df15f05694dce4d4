"""Lines of YOLO's label files: boxes and polygons in shares of the picture, and what is refused."""

from collections.abc import Callable

import pytest

from foundation.errors import UserError


@pytest.fixture
def labelled(place: Callable, opened: Callable) -> Callable:
    """labelled(text) opens a set of one picture of 20 x 10 with these labels and the classes cat and dog."""

    def open_one(text: str, *, masks: bool = False, yaml: str = ""):
        description = f"train: images\nval: images\nnames: [cat, dog]\n{yaml}"
        root = place({"images/a.jpg": None, "labels/a.txt": text, "data.yaml": description})
        return opened("yolo", root, masks=masks)[0]

    return open_one


def test_boxes(labelled: Callable):
    # Centre (5, 2.5) and 4 x 3 pixels: from 5 - 2 = 3 and 2.5 - 1.5 = 1 to 7 and 4.
    target = labelled("0 0.25 0.25 0.2 0.3\n\n1.0 0.5 0.5 1 1").targets[0]
    assert target.boxes.tolist() == [[3, 1, 7, 4], [0, 0, 20, 10]]
    assert target.labels.tolist() == [1, 2]


def test_all_digits_give_the_pixels_back(labelled: Callable):
    # x 3.37, y 1.21, 5.4 x 2.7 pixels.
    line = f"0 {(3.37 + 2.7) / 20!r} {(1.21 + 1.35) / 10!r} {5.4 / 20!r} {2.7 / 10!r}"
    assert labelled(line).truth()["annotations"][0]["bbox"] == [3.37, 1.21, 5.4, 2.7]


def test_polygons_have_boxes_and_masks(labelled: Callable):
    # A triangle (2, 1), (10, 1), (2, 9): half of 8 x 8.
    dataset = labelled("1 0.1 0.1 0.5 0.1 0.1 0.9", masks=True)
    (entry,) = dataset.truth()["annotations"]
    assert (entry["bbox"], entry["area"]) == ([2, 1, 8, 8], 32)
    assert entry["segmentation"] == [[2, 1, 10, 1, 2, 9]]
    mask = dataset.load_target(0).mask(0)
    assert mask.shape == (10, 20) and mask[2, 3] and not mask[8, 9]


def test_boxes_have_no_masks(labelled: Callable):
    with pytest.raises(UserError, match=r"labels/a\.txt line 1: segmentation is missing.*do without masks"):
        labelled("0 0.5 0.5 0.1 0.1", masks=True)


def test_keypoints_are_left_out(labelled: Callable):
    dataset = labelled("0 0.5 0.5 1 1 0.1 0.2 2", yaml="kpt_shape: [1, 3]\n")
    assert dataset.targets[0].boxes.tolist() == [[0, 0, 20, 10]]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("2 0.5 0.5 0.1 0.1", r"class 2 is beyond the 2 names \(0 cat to 1 dog\): add its name or correct"),
        ("-1 0.5 0.5 0.1 0.1", "begins with '-1', expected the number of a class"),
        ("cat 0.5 0.5 0.1 0.1", "begins with 'cat', expected the number of a class"),
        ("0 0.5 0.5 0.1 0.1 0.9", "the sixth is a confidence, so that these are predictions"),
        ("0 0.5 0.5", "holds 3 numbers, expected a class and a box"),
        ("0 0.1 0.1 0.5 0.1 0.1 0.9 0.3", "holds 8 numbers, expected a class and a box"),
        ("0 0.5 0.5 nan 0.1", "'nan' is no share of the picture; expected numbers from 0 to 1"),
        ("0 10 5 4 2", "'10' is no share of the picture; .*pixels divided by its width or height"),
        ("0 0.5 0.5 x 0.1", "'x' is no share of the picture"),
        ("1 0.1 0.1 0.2 0.2\n0 0.1 0.1 0.5 0.1 0.1 0.9", "a box, or a polygon of two points"),
    ],
)
def test_lines_that_are_refused(labelled: Callable, line: str, text: str):
    with pytest.raises(UserError, match=rf"set: labels/a\.txt line 2: .*{text}"):
        labelled(f"\n{line}")


def test_other_files_are_named(labelled: Callable, place: Callable):
    place({"images/b.jpg": "no picture"})
    with pytest.raises(UserError, match=r"images/b\.jpg: "):
        labelled("0 0.5 0.5 0.1 0.1")
