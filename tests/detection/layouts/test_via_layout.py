import json
import logging
import math
from pathlib import Path

import pytest

from detection.layouts.drawn_objects import DrawnObject
from detection.layouts.via_layout import drawn_regions, read_via_json
from foundation.errors import UserError

RECT = {"name": "rect", "x": 1, "y": 2, "width": 10, "height": 20}


@pytest.fixture
def objects(tmp_path: Path):
    """The objects of one picture with regions of these (shape, attributes)."""

    def of(*regions: tuple[object, object], classes: list[str] | None = None) -> list[DrawnObject]:
        entries = [{"shape_attributes": shape, "region_attributes": values} for shape, values in regions]
        content = {"a.jpg100": {"filename": "a.jpg", "size": 100, "regions": entries, "file_attributes": {}}}
        (tmp_path / "via.json").write_text(json.dumps(content))
        (found,) = drawn_regions(read_via_json(tmp_path / "via.json"), classes, "via.json")
        return found.objects

    return of


def test_a_project_its_export_and_that_of_via_1_are_the_same(tmp_path: Path):
    region = {"shape_attributes": RECT, "region_attributes": {"class": "cat"}}
    export = {"a.jpg100": {"filename": "a.jpg", "size": 100, "regions": [region], "file_attributes": {}}}
    first = {"a.jpg100": {**export["a.jpg100"], "regions": {"0": region}, "base64_img_data": ""}}
    project = {"_via_settings": {}, "_via_img_metadata": export, "_via_attributes": {}}
    read = []
    for content in (export, first, project):
        (tmp_path / "a.json").write_text(json.dumps(content))
        read.append(drawn_regions(read_via_json(tmp_path / "a.json"), None, "a.json"))
    assert read[0] == read[1] == read[2]
    (found,) = read[0][0].objects
    assert (found.label, found.box) == ("cat", (1, 2, 11, 22))
    assert found.segmentation == [[1, 2, 11, 2, 11, 22, 1, 22]]
    assert found.where == f"{tmp_path / 'a.json'}: a.jpg: region 1"


def test_circles_and_ellipses(objects):
    label = {"class": "cat"}
    circle = {"name": "circle", "cx": 30, "cy": 20, "r": 10}
    ellipse = {"name": "ellipse", "cx": 30, "cy": 20, "rx": 10, "ry": 5}
    turned = {**ellipse, "theta": math.pi / 2}
    found = objects((circle, label), (ellipse, label), (turned, label))
    assert found[0].box == (20, 10, 40, 30)
    assert found[1].box == (20, 15, 40, 25)
    assert found[2].box == pytest.approx((25, 10, 35, 30))


def test_points_and_lines_are_left_out_and_counted(objects, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        found = objects(
            ({"name": "point", "cx": 1, "cy": 2}, {}),
            ({"name": "polyline", "all_points_x": [1, 2], "all_points_y": [1, 2]}, {}),
            (RECT, {"class": "cat"}),
        )
    assert len(found) == 1
    assert "left out: 1 point, 1 polyline" in caplog.text


@pytest.mark.parametrize(
    "attributes",
    [{"animal": "cat"}, {"colour": "red", "Label": "cat"}, {"class": {"cat": True, "dog": False}}],
)
def test_the_class_is_the_only_attribute_or_the_one_called_so(objects, attributes: dict):
    (found,) = objects((RECT, attributes))
    assert found.label == "cat"


def test_regions_without_attributes_are_of_the_only_class(objects):
    (found,) = objects((RECT, {}), classes=["balloon"])
    assert found.label == "balloon"


@pytest.mark.parametrize(
    ("shape", "attributes", "message"),
    [
        (RECT, {}, "a region has no attribute, expected the name of its class"),
        (RECT, {"class": ""}, "the attribute 'class' ''"),
        (RECT, {"class": {"cat": True, "dog": True}}, "the attribute 'class' {'cat': True, 'dog': True}"),
        (
            RECT,
            {"colour": "red", "size": "big"},
            "the regions have the attributes 'colour', 'size', and none",
        ),
        (RECT, None, "its attributes are None"),
        (
            {"name": "blob"},
            {"class": "cat"},
            "its shape is 'blob', expected rect, polygon, circle or ellipse",
        ),
        (None, {"class": "cat"}, "its shape is None"),
        ({**RECT, "x": None}, {"class": "cat"}, "x is [None], expected 1 finite numbers"),
        (
            {"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]},
            {"class": "cat"},
            "a.jpg: region 1: a polygon of 2 points, expected at least 3",
        ),
        (
            {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1, 2]},
            {"class": "cat"},
            "all_points_y is [1, 2], expected 3 finite numbers",
        ),
    ],
)
def test_a_region_that_is_none_is_refused(objects, shape: object, attributes: object, message: str):
    with pytest.raises(UserError) as refused:
        objects((shape, attributes))
    assert message in str(refused.value)


@pytest.mark.parametrize("content", ["[]", '{"images": []}', '{"a": {"filename": "a.jpg"}}', "{"])
def test_another_json_is_refused(tmp_path: Path, content: str):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=r"a\.json: .*expected a project of VIA 2"):
        read_via_json(tmp_path / "a.json")


def test_two_entries_of_one_picture_are_refused(tmp_path: Path):
    entry = {"filename": "a.jpg", "regions": []}
    (tmp_path / "a.json").write_text(json.dumps({"a.jpg1": entry, "a.jpg2": entry}))
    with pytest.raises(UserError, match="picture 'a.jpg' has two entries"):
        read_via_json(tmp_path / "a.json")


def test_attributes_of_several_regions_are_counted_by_name(objects):
    first, second = objects((RECT, {"class": "cat", "note": "x"}), (RECT, {"class": "dog", "score": 1}))
    assert (first.label, second.label) == ("cat", "dog")
