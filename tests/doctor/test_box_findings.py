"""Findings of boxes, on a survey made by hand."""

from pathlib import Path

from doctor.box_findings import as_numbered_coco, check_objects
from doctor.survey import Survey, SurveyedObject, SurveyedPicture


def survey(*boxes: tuple[float, ...], size: tuple[int, int] = (40, 60)) -> Survey:
    """Objects of one class in one picture of 60 x 40 (width x height)."""
    objects = [SurveyedObject(f"object {i}", 0, 0, box, False) for i, box in enumerate(boxes)]
    pictures = [SurveyedPicture("a", Path("a.png"), size)]
    return Survey("own", ["cat"], pictures=pictures, objects=objects)


def found(*boxes: tuple[float, ...]) -> dict[str, str]:
    notes = {"class_counts", "rare_category"}
    return {f.check: f"{f.where}: {f.detail}" for f in check_objects(survey(*boxes)) if f.check not in notes}


def test_borders():
    # Half a pixel beyond the border is rounding.
    assert found((0, 0, 60.5, 40)) == {}
    assert found((0, 0, 60.6, 40)) == {"crossing_box": "object 0: box 0 0 60.6 40 in a picture of 60x40"}
    assert found((60, 0, 70, 40)) == {"outside_box": "object 0: box 60 0 70 40 in a picture of 60x40"}
    assert found((5, 5, 5.9, 20)) == {"tiny_box": "object 0: box 5 5 5.9 20: a side below 1 pixel"}


def test_the_same_box_twice_and_nearly():
    twice = found((1, 1, 20, 20), (1, 1, 20, 20))
    assert twice["duplicate_box"] == "object 1: box 1 1 20 20, same box and class as object 0"
    # 19 x 19 in 19 x 19.2: 361 / 364.8 = 0.99 of the union.
    assert "near_duplicate_box" in found((1, 1, 20, 20), (1, 1, 20, 20.2))
    # 19 x 19 in 19 x 21: 361 / 399 = 0.90.
    assert "near_duplicate_box" not in found((1, 1, 20, 20), (1, 1, 20, 22))


def test_without_pictures_or_objects():
    assert {f.check for f in check_objects(Survey("own", []))} == {"no_pictures", "class_counts"}
    assert found() == {"no_objects": "a: no object; trained on as background"}


def test_rows_are_the_numbers_of_the_coco_file():
    content = as_numbered_coco(survey((1, 2, 4, 6)))
    assert content["images"] == [{"id": 0, "file_name": "a", "height": 40, "width": 60}]
    (entry,) = content["annotations"]
    assert (entry["id"], entry["image_id"], entry["category_id"]) == (0, 0, 0)
    assert (entry["bbox"], entry["area"]) == ([1, 2, 3, 4], 12)
