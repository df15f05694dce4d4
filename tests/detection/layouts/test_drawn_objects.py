import math

import pytest

from detection.layouts.drawn_objects import (
    CORNERS,
    DrawnObject,
    DrawnPicture,
    coco_content,
    drawn,
    ellipse,
    numbers,
    only_boxes,
    polygon,
    rectangle,
)
from foundation.errors import UserError


def test_the_polygon_of_a_circle_keeps_its_box_and_almost_its_area():
    corners = ellipse(30.0, 20.0, 10.0, 10.0)
    xs, ys = zip(*corners, strict=True)
    assert (min(xs), min(ys), max(xs), max(ys)) == (20, 10, 40, 30)
    following = [*corners[1:], corners[0]]
    area = sum(x * v - u * y for (x, y), (u, v) in zip(corners, following, strict=True)) / 2
    # n triangles of r² sin(2π / n) / 2 each
    assert area == pytest.approx(CORNERS * 100 * math.sin(2 * math.pi / CORNERS) / 2)
    assert area == pytest.approx(math.pi * 100, rel=0.002)


def test_an_ellipse_turns():
    xs, ys = zip(*ellipse(0, 0, 10, 5, math.pi / 2), strict=True)
    assert (max(xs), max(ys)) == pytest.approx((5, 10))


def test_numbers_and_polygons_are_checked():
    assert numbers([1, 2.5], 2, "a", "x") == [1, 2.5]
    for values in ([1], [1, math.nan], [1, True], [1, 10**400], "12", None):
        with pytest.raises(UserError, match="a: x is .*, expected 2 finite numbers of pixels"):
            numbers(values, 2, "a", "x")
    with pytest.raises(UserError, match="a: a polygon of 2 points, expected at least 3"):
        polygon([(1, 2), (3, 4)], "a")


def test_the_content_of_a_coco_file():
    triangle = drawn("dog", [[(1, 2), (11, 2), (5, 9)]], "a.json: shape 1")
    box = DrawnObject("cat", (3, 4, 5, 8), None, "a.json: shape 2")
    pictures = [DrawnPicture("a.jpg", (48, 64), [triangle, box]), DrawnPicture("b.jpg", (10, 20), [])]
    content = coco_content(pictures, ["cat", "dog"], lambda name: f"train/{name}", masks=False)
    assert content == {
        "images": [
            {"id": "train/a.jpg", "file_name": "a.jpg", "height": 48, "width": 64},
            {"id": "train/b.jpg", "file_name": "b.jpg", "height": 10, "width": 20},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": "a.json: shape 1", "image_id": "train/a.jpg", "category_id": 2, "bbox": [1, 2, 10, 7],
             "iscrowd": 0},
            {"id": "a.json: shape 2", "image_id": "train/a.jpg", "category_id": 1, "bbox": [3, 4, 2, 4],
             "iscrowd": 0},
        ],
    }  # fmt: skip
    masks = coco_content(pictures, ["cat", "dog"], str, masks=True)["annotations"]
    assert [entry["segmentation"] for entry in masks] == [[[1, 2, 11, 2, 5, 9]], None]


def test_rectangles_are_only_boxes():
    assert rectangle(3, 2, 1, 4) == [(1, 2), (3, 2), (3, 4), (1, 4)]
    box = drawn("cat", [rectangle(3, 4, 1, 2)], "a")
    assert only_boxes([DrawnPicture("a.jpg", None, [box, DrawnObject("cat", (1, 2, 3, 4), None, "a")])])
    assert not only_boxes([DrawnPicture("a.jpg", None, [drawn("cat", [[(1, 2), (3, 2), (3, 4)]], "a")])])
