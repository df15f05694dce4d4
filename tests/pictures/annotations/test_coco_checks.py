import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from pictures.annotations.coco_checks import check_coco, plain_numbers, problems, read_coco, read_json

Content = dict[str, Any]


def test_a_sound_file_is_returned_as_it_is(write_coco: Callable[..., Path], coco_content: Content):
    assert read_coco(write_coco()) == coco_content


def test_missing_file_says_where_and_how(tmp_path: Path):
    with pytest.raises(UserError) as error:
        read_json(tmp_path / "instances_val2017.json")
    assert str(error.value).startswith(f"{tmp_path / 'instances_val2017.json'}: no such file")
    assert "https://cocodataset.org/#download" in str(error.value)
    with pytest.raises(UserError, match="is a folder, expected a file"):
        read_json(tmp_path)


@pytest.mark.parametrize("content", [b'{"images": [', b"", b"\xff\xfe\x00", b"[" * 10**5])
def test_not_json(tmp_path: Path, content: bytes):
    path = tmp_path / "cut.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"cut\.json: is .+; expected a COCO JSON there: write it again"):
        read_json(path)


def test_pictures_to_predict_on_need_no_annotations(
    write_coco: Callable[..., Path], coco_content: Content, caplog: pytest.LogCaptureFixture
):
    del coco_content["annotations"]
    with caplog.at_level(logging.WARNING):
        assert read_coco(write_coco())["annotations"] == []
    assert "lists no annotations" in caplog.text


@pytest.mark.parametrize("content", [[], 5, None, {"annotations": []}, {"images": {}, "annotations": []}])
def test_not_coco(content: Any):
    with pytest.raises(
        UserError, match="gt: expected a COCO file with lists named images, categories, annot"
    ):
        check_coco(content, "gt")


@pytest.mark.parametrize(
    ("section", "index", "field", "value", "message"),
    [
        ("images", 1, "id", 30, r"gt: images\[1\]: id 30 stands twice; ids must be unique"),
        ("annotations", 2, "id", 1, r"annotations\[2\]: id 1 stands twice"),
        ("categories", 1, "id", 18, r"categories\[1\]: id 18 stands twice"),
        ("images", 1, "id", [10], r"images\[1\]: id is \[10\], expected a whole number or text"),
        ("images", 1, "id", 10.5, r"images\[1\]: id is 10\.5, expected a whole number or text"),
        ("categories", 1, "id", "person", r"categories\[1\]: id is 'person', expected a whole number;"),
        (
            "images",
            0,
            "height",
            0,
            r"image 30: size is 6x0 \(width x height\), expected whole pixels above 0",
        ),
        ("images", 0, "width", 6.5, r"image 30: size is 6\.5x4"),
        ("images", 0, "width", None, "image 30: size is Nonex4"),
        ("annotations", 0, "image_id", 11, "annotation 1: image_id 11 is not in .* which has 3"),
        ("annotations", 0, "image_id", [10], r"annotation 1: image_id \[10\] is not in"),
        ("annotations", 0, "category_id", 2, r"annotation 1: category_id 2 is not in .* has 2 \(1, 18\)"),
        ("annotations", 0, "bbox", [1, 2, -3, 4], r"gt: annotation 1: bbox is \[1, 2, -3, 4\], expected"),
        ("annotations", 2, "bbox", [1, 2, 3], r"annotation 3: bbox is \[1, 2, 3\]"),
        ("annotations", 2, "bbox", [[1, 2], [3, 4]], "annotation 3: bbox"),
        ("annotations", 2, "bbox", ["1", "2", "3", "4"], "annotation 3: bbox"),
        ("annotations", 2, "bbox", [1, None, 3, 4], "annotation 3: bbox"),
        ("annotations", 2, "bbox", [1, float("nan"), 3, 4], "annotation 3: bbox"),
        ("annotations", 2, "bbox", 7, "annotation 3: bbox is 7"),
        ("annotations", 2, "bbox", [True, True, 1, 1], r"annotation 3: bbox is \[True"),
        ("images", 0, "width", True, "image 30: size is Truex4"),
        ("images", 0, "width", 2**40, "image 30: size is 1099511627776x4"),
        (
            "images",
            0,
            "file_name",
            None,
            "image 30: file_name is None, expected the name of the picture's file",
        ),
        ("images", 0, "file_name", "a\0.jpg", "image 30: file_name is "),
        ("categories", 0, "name", 3, "category 18: name is 3, expected the name of the class as text"),
        ("annotations", 0, "image_id", True, "annotation 1: image_id True is not in"),
        ("annotations", 0, "category_id", "1", "annotation 1: category_id '1' is not in"),
        ("annotations", 0, "iscrowd", "0", "gt: annotation 1: iscrowd is '0', expected the number 0 or 1"),
        ("annotations", 0, "iscrowd", [0], r"annotation 1: iscrowd is \[0\]"),
        ("annotations", 0, "iscrowd", 2, "annotation 1: iscrowd is 2"),
        ("annotations", 0, "iscrowd", False, "annotation 1: iscrowd is False"),
        ("annotations", 0, "area", "600", "annotation 1: area is '600', expected a number of square pixels"),
        ("annotations", 0, "area", -0.5, r"annotation 1: area is -0\.5"),
        ("annotations", 0, "area", float("nan"), "annotation 1: area is nan"),
    ],
)
def test_wrong_entries(coco_content: Content, section: str, index: int, field: str, value: Any, message: str):
    check_coco(coco_content, "gt")
    coco_content[section][index][field] = value
    with pytest.raises(UserError, match=message):
        check_coco(coco_content, "gt")


@pytest.mark.parametrize("section", ["images", "categories", "annotations"])
def test_missing_fields(coco_content: Content, section: str):
    del coco_content[section][1]["id"]
    with pytest.raises(UserError, match=rf"gt: {section}\[1\]: id missing; every entry needs id, "):
        check_coco(coco_content, "gt")
    coco_content[section][1] = 3
    with pytest.raises(UserError, match=rf"gt: {section}\[1\]: id, .* missing"):
        check_coco(coco_content, "gt")


def test_floats_of_whole_numbers_are_these_numbers(coco_content: Content):
    as_floats = json.loads(json.dumps(coco_content))
    for entries in as_floats.values():
        for entry in entries:
            fields = {"id", "image_id", "category_id", "iscrowd", "height", "width"} & entry.keys()
            entry.update({field: float(entry[field]) for field in fields})
    assert json.dumps(plain_numbers(as_floats)) == json.dumps(coco_content)
    assert plain_numbers(coco_content) is coco_content
    check_coco(plain_numbers(as_floats), "gt")
    as_floats["images"][1]["id"] = 10.5
    assert plain_numbers(as_floats)["images"][1]["id"] == 10.5
    assert plain_numbers([1.0]) == [1.0] and plain_numbers({"images": [1.0]}) == {"images": [1.0]}


@pytest.mark.parametrize("identity", ["x-9", -5, 0, 2**70])
def test_objects_and_pictures_may_be_named_by_text_and_any_whole_number(coco_content: Content, identity: Any):
    coco_content["annotations"][0]["id"] = identity
    coco_content["annotations"][1]["image_id"] = coco_content["images"][0]["id"] = identity
    check_coco(coco_content, "gt")


def test_null_says_nothing_where_a_field_may_be_missing(coco_content: Content):
    coco_content["annotations"][0].update(iscrowd=None, area=None)
    del coco_content["annotations"][2]["iscrowd"]
    check_coco(coco_content, "gt")


def test_real_annotations_pass(real_data: Path):
    for path in sorted((real_data / "coco" / "annotations").glob("instances_*.json")):
        assert read_coco(path) == json.loads(path.read_text())


def test_all_problems_are_given(coco_content: Content):
    images, annotations = coco_content["images"], coco_content["annotations"]
    images[0]["height"] = 0
    images.append({**images[1]})
    annotations[0].update(image_id=7, bbox=[1, 2, -3, 4])
    annotations[1]["bbox"] = [1, 2, float("nan"), 4]
    annotations.append({"id": 9})
    found = list(problems(coco_content))
    assert [(p.check, p.where, p.row) for p in found] == [
        ("duplicate_image_id", "images[3]", ("images", 3)),
        ("malformed_entry", "annotations[3]", ("annotations", 3)),
        ("malformed_entry", "image 30", None),  # the rest of it can be used
        ("unknown_image", "annotation 1", ("annotations", 0)),
        ("negative_box", "annotation 1", ("annotations", 0)),
        ("malformed_box", "annotation 2", ("annotations", 1)),
    ]
    with pytest.raises(UserError) as error:
        check_coco(coco_content, "gt")
    assert str(error.value) == f"gt: images[3]: {found[0].text}"


@pytest.mark.parametrize("section", ["images", "categories", "annotations"])
def test_truth_values_are_no_ids(coco_content: Content, section: str):
    coco_content[section][0]["id"] = True
    with pytest.raises(UserError, match=rf"{section}\[0\]: id is True, expected a whole number"):
        check_coco(coco_content, "gt")


def test_numbers_beyond_floats_are_no_boxes(coco_content: Content):
    coco_content["annotations"][0]["bbox"] = [1, 2, 10**400, 4]
    with pytest.raises(UserError, match="annotation 1: bbox is"):
        check_coco(coco_content, "gt")
