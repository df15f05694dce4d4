"""Boxes from masks and masks from boxes."""

from typing import Any

import pytest

from doctor.object_repair import as_flag, box_of_mask, inside, mend_fields, repair_masks

SIZE = (48, 64)  # height, width


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ([0.1, 0.2, 0.7, 0.1], [0.1, 0.2, 0.7, 0.1]),  # to the last bit, though 0.8 - 0.1 is not 0.7
        ([-5, 2, 10, 4], [0, 2, 5, 4]),
        ([60, 40, 10, 10], [60, 40, 4, 8]),
        ([10, 2, -4, 4], [6, 2, 4, 4]),  # 10 - 4 = 6
        ([10, 2, 4, -5], [10, 0, 4, 2]),  # from 2 - 5 = -3 to 2, of which 0 to 2 is inside
        (["1", 2, "3.5", 4], [1.0, 2, 3.5, 4]),
        ([64, 2, 3, 4], None),
        ([1, 2, 0, 4], None),
        ([1, 2, 3], None),
        ([1, 2, 3, None], None),
        ([1, 2, 3, float("nan")], None),
        ([1, 2, 10**400, 4], None),
        (["1", "2", "x", "4"], None),
        ("1234", None),
        (None, None),
    ],
)
def test_a_box_inside_its_picture(box: Any, expected: list | None):
    assert repr(inside(box, SIZE)) == repr(expected)


def test_the_box_of_a_mask():
    # Two triangles, from 5 to 25 and from 6 to 16, then from 30 to 70 and beyond the border at 64.
    polygons = [[5, 6, 25, 6, 25, 16], [30, 8, 70, 8, 70, 12]]
    assert box_of_mask(polygons[:1], SIZE) == [5, 6, 20, 10]
    assert box_of_mask(polygons, SIZE) == [5, 6, 59, 10]
    # Columns of 48: 48 * 3 + 10 pixels off is column 3 from row 10 on, 4 are on.
    length = {"size": [48, 64], "counts": [48 * 3 + 10, 4, 48 * 61 - 14]}
    assert box_of_mask(length, SIZE) == [3, 10, 1, 4]
    for nothing in (
        None,
        [],
        [[1, 2, 3, 4]],
        {"size": [48, 64], "counts": [48 * 64]},
        {"size": [1, 1], "counts": [1]},
    ):
        assert box_of_mask(nothing, SIZE) is None


def test_masks_are_mended_where_any_object_has_one():
    triangle = [5, 6, 25, 6, 25, 16]
    values = ([triangle], [triangle, [1, 2, 3, 4]], [[1, 2, 3, 4]], None, {"size": [1, 1], "counts": [1]})
    entries = [
        {"id": i, "image_id": 7, "bbox": [5, 6, 20, 10], "segmentation": value}
        for i, value in enumerate(values)
    ]
    changes: list[str] = []
    repair_masks(entries, {7: SIZE}, changes)
    box = [[5, 6, 25, 6, 25, 16, 5, 16]]
    assert [entry["segmentation"] for entry in entries] == [[triangle], [triangle], box, box, box]
    assert changes[0] == "annotation 1: 1 of its 2 polygons left out, which cannot be drawn"
    assert changes[1].startswith("annotation 2: its box stands for its mask, since its segmentation is")
    assert len(changes) == 4


def test_objects_that_all_have_boxes_only_get_no_masks():
    entries = [{"id": 1, "image_id": 7, "bbox": [5, 6, 20, 10]}, {"id": 2, "image_id": 7, "segmentation": []}]
    changes: list[str] = []
    repair_masks(entries, {7: SIZE}, changes)
    assert changes == [] and "segmentation" not in entries[0] and entries[1]["segmentation"] == []


@pytest.mark.parametrize("value", [True, "1", "1.0", [1], " Yes ", "true", "T"])
def test_flags_that_are_meant_as_1(value: Any):
    assert as_flag(value) == 1


@pytest.mark.parametrize("value", [False, "0", [0], "no", "False", "", "2", 2, {}, [1, 1], [[1]]])
def test_all_other_flags_are_0(value: Any):
    assert as_flag(value) == 0


def test_fields_of_another_form_keep_their_entry():
    content = {
        "images": [{"id": 7}, {"id": "8"}],
        "categories": [{"id": "1", "name": 5}, {"id": 2, "name": None}, None],
        "annotations": [
            {"id": 3, "image_id": "7", "category_id": "1", "iscrowd": "1", "area": "600"},
            {"id": None, "image_id": 8, "category_id": 2, "iscrowd": [0], "area": "large"},
            {"id": 2, "image_id": 99, "category_id": [1], "iscrowd": None, "area": 1.5},
        ],
    }
    changes: list[str] = []
    mend_fields(content, changes)
    assert content["categories"] == [{"id": 1, "name": "5"}, {"id": 2, "name": "2"}, None]
    assert content["annotations"] == [
        {"id": 3, "image_id": 7, "category_id": 1, "iscrowd": 1, "area": 600.0},
        {"id": 4, "image_id": "8", "category_id": 2, "iscrowd": 0, "area": None},
        {"id": 2, "image_id": 99, "category_id": [1], "iscrowd": None, "area": 1.5},
    ]
    assert changes[0] == "categories[0]: id '1' is now 1"
    assert "annotation 3: image_id '7' is now 7" in changes and len(changes) == 11
    assert "annotation 4: area 'large' is now None" in changes


def test_what_is_right_is_not_changed(content: dict):
    changes: list[str] = []
    before = repr(content)
    mend_fields(content, changes)
    assert changes == [] and repr(content) == before
    mend_fields([], changes)
    mend_fields({"annotations": [None, 3], "images": None}, changes)
    assert changes == []
