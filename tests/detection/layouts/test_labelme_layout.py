import base64
import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from detection.layouts.drawn_objects import DrawnObject
from detection.layouts.labelme_layout import read_labelme, read_labels
from foundation.errors import UserError


def shape(kind: str, points: list, label: str = "cat", **others: object) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **others}


def png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def write(file: Path, *shapes: object, **others: object) -> Path:
    content = {
        "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"{file.stem}.jpg", "imageData": None,
        "imageHeight": 48, "imageWidth": 64, **others,
    }  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


@pytest.fixture
def objects(tmp_path: Path, picture):
    """The objects of one picture, 64 x 48, with these shapes."""

    def of(*shapes: object, **others: object) -> list[DrawnObject]:
        picture(tmp_path / "a.jpg")
        write(tmp_path / "a.json", *shapes, **others)
        pictures, _ = read_labelme(tmp_path)
        return pictures[0].objects

    return of


def test_polygons_rectangles_and_circles(objects):
    polygon, rectangle, circle, four = objects(
        shape("polygon", [[1, 2], [11, 2], [5, 9.5]]),
        shape("rectangle", [[30, 40], [10, 20]], "dog"),
        shape("circle", [[30, 20], [33, 24]]),  # radius 5
        shape("rectangle", [[1, 2], [4, 2], [4, 8], [1, 8]]),
    )
    assert (polygon.label, polygon.box) == ("cat", (1, 2, 11, 9.5))
    assert polygon.segmentation == [[1, 2, 11, 2, 5, 9.5]]
    assert (rectangle.label, rectangle.box) == ("dog", (10, 20, 30, 40))
    assert circle.box == (25, 15, 35, 25)
    assert four.box == (1, 2, 4, 8)


def test_shapes_of_one_label_and_group_are_one_object(objects):
    first, second, third = objects(
        shape("polygon", [[1, 1], [5, 1], [5, 5]], group_id=1),
        shape("polygon", [[1, 1], [5, 1], [5, 5]], "dog", group_id=1),
        shape("polygon", [[20, 20], [30, 20], [30, 30]], group_id=1),
        shape("polygon", [[7, 7], [8, 7], [8, 8]]),
    )
    assert (first.label, first.box, len(first.segmentation)) == ("cat", (1, 1, 30, 30), 2)
    assert (second.label, len(second.segmentation)) == ("dog", 1)
    assert third.box == (7, 7, 8, 8)


def test_masks_are_decoded_where_they_lie(objects):
    pixels = np.zeros((4, 6), bool)
    pixels[1, 2:5] = True  # at (10, 20): row 21, columns 12 to 14
    mask = shape("mask", [[10, 20], [15, 23]], mask=png(pixels))
    (alone,) = objects(mask)
    assert alone.box == (12, 21, 15, 22)
    decoded = coco_mask.decode(alone.segmentation)
    assert decoded.shape == (48, 64) and decoded.sum() == 3 and decoded[21, 12:15].all()
    (joined,) = objects({**mask, "group_id": 1}, shape("rectangle", [[0, 0], [2, 3]], group_id=1))
    assert joined.box == (0, 0, 15, 22)
    assert coco_mask.decode(joined.segmentation).sum() == 3 + 6
    (beyond,) = objects(shape("mask", [[62, -1], [67, 2]], mask=png(np.ones((4, 6), bool))))
    assert beyond.box == (62, 0, 64, 3)


def test_points_lines_and_ignored_labels_are_left_out_and_counted(objects, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        found = objects(
            *(shape("point", [[1, 1]]), shape("line", [[1, 1], [2, 2]]), shape("point", [[2, 1]])),
            *(shape("polygon", [[1, 1], [5, 1], [5, 5]], "__ignore__"), shape("rectangle", [[1, 1], [5, 5]])),
        )
    assert len(found) == 1
    assert "left out: 1 __ignore__, 1 line, 2 point" in caplog.text


def test_pictures_without_a_json_have_no_objects(tmp_path: Path, picture):
    for name in ("b.png", "sub/a.jpg", "c.jpg"):
        picture(tmp_path / name)
    write(tmp_path / "sub" / "a.json", shape("rectangle", [[1, 2], [3, 4]]))
    pictures, folder = read_labelme(tmp_path)
    assert folder == tmp_path
    assert [(p.file_name, p.size, len(p.objects)) for p in pictures] == [
        ("b.png", None, 0),
        ("c.jpg", None, 0),
        ("sub/a.jpg", (48, 64), 1),
    ]


@pytest.mark.parametrize(
    "named",
    ["..\\pictures\\a.jpg", "../pictures/a.jpg", "../train/../pictures/A.JPG", "..%2Fpictures%2Fa.jpg"],
)
def test_annotations_name_pictures_in_a_folder_beside(tmp_path: Path, picture, named: str):
    picture(tmp_path / "pictures" / "a.jpg")
    picture(tmp_path / "pictures" / "b.jpg")  # perhaps one of another split
    write(tmp_path / "train" / "a.json", shape("rectangle", [[1, 2], [3, 4]]), imagePath=named)
    pictures, folder = read_labelme(tmp_path / "train")
    assert folder == tmp_path and [p.file_name for p in pictures] == ["pictures/a.jpg"]


@pytest.mark.parametrize("named", ["C:\\Users\\me\\a.jpg", "/home/me/a.jpg", "renamed.jpg", "a"])
def test_pictures_of_another_machine_are_found_by_their_names(tmp_path: Path, picture, named: str):
    picture(tmp_path / "img" / "a.jpg")
    write(tmp_path / "ann" / "a.json", shape("rectangle", [[1, 2], [3, 4]]), imagePath=named)
    pictures, folder = read_labelme(tmp_path)
    assert folder == tmp_path and [(p.file_name, len(p.objects)) for p in pictures] == [("img/a.jpg", 1)]


def test_pictures_may_lie_in_a_named_folder(tmp_path: Path, picture):
    picture(tmp_path / "far" / "pictures" / "a.jpg")
    picture(tmp_path / "far" / "pictures" / "b.jpg")
    write(tmp_path / "set" / "train" / "a.json", shape("rectangle", [[1, 2], [3, 4]]))
    pictures, folder = read_labelme(tmp_path / "set" / "train", tmp_path / "far" / "pictures")
    assert folder == tmp_path / "far" / "pictures" and [p.file_name for p in pictures] == ["a.jpg"]


def test_nothing_is_read_far_from_the_set(tmp_path: Path, picture):
    picture(tmp_path / "secret" / "a.jpg")
    picture(tmp_path / "home" / "sets" / "mine" / "other.jpg")
    for named in ("../../../secret/a.jpg", str(tmp_path / "secret" / "a.jpg")):
        write(tmp_path / "home" / "sets" / "mine" / "a.json", imagePath=named)
        with pytest.raises(UserError, match=r"a\.json: no picture '.* beside it"):
            read_labelme(tmp_path / "home" / "sets" / "mine")


def test_two_annotations_of_one_picture_are_refused(tmp_path: Path, picture):
    picture(tmp_path / "a.jpg")
    write(tmp_path / "a.json")
    write(tmp_path / "b.json", imagePath="a.jpg")
    with pytest.raises(UserError, match=r"b\.json: annotates .*a\.jpg, and so does .*a\.json; keep one"):
        read_labelme(tmp_path)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (shape("polygon", [[1, 2], [3, 4]]), "shape 1: a polygon of 2 points, expected at least 3"),
        (shape("circle", [[1, 2]]), "a circle of 1 points, expected 2"),
        (shape("cube", [[1, 2], [3, 4]]), "shape_type is 'cube', expected one of polygon, rectangle"),
        (shape("polygon", [[1, 2], [3, None], [4, 5]]), "point 2 is [3, None], expected 2 finite numbers"),
        (shape("polygon", [[1, 2], [3, 1e300], [4, 5]]), "point 2 is [3, 1e+300]"),
        (shape("polygon", "abc"), "points is 'abc', expected a list"),
        (shape("rectangle", [[1, 2], [3, 4]], ""), "label is '', expected the name of a class"),
        (shape("rectangle", [[1, 2], [3, 4]], group_id=[]), "group_id is []"),
        (shape("mask", [[1, 2], [3, 4]], mask="%"), "expected a mask as a PNG in base64"),
        (shape("mask", [[1, 2], [3, 4]]), "expected a mask as a PNG in base64"),
        (shape("mask", [[90, 2], [93, 4]], mask=png(np.ones((2, 3), bool))), "a mask without a pixel"),
        (shape("mask", [[9, 2]], mask=png(np.ones((2, 3), bool))), "a mask of 1 points, expected the 2"),
        ("text", "shape 1 is 'text'"),
    ],
)
def test_a_shape_that_is_none_is_refused(objects, one: object, message: str):
    with pytest.raises(UserError) as refused:
        objects(one)
    assert message in str(refused.value) and "a.json: shape 1" in str(refused.value)


def test_a_file_that_is_no_annotation_is_refused(objects, tmp_path: Path):
    for others, message in (
        ({"imageHeight": 0}, "imageHeight 0 and imageWidth 64, expected whole numbers above 0"),
        ({"imagePath": None}, "imagePath is None, expected the name of a picture"),
        ({"shapes": None}, "has no list of shapes; expected an annotation of labelme"),
    ):
        with pytest.raises(UserError) as refused:
            objects(**others)
        assert str(refused.value).startswith(f"{tmp_path / 'a.json'}: {message}")
    mask = shape("mask", [[1, 2], [3, 4]], mask=png(np.ones((2, 3), bool)))
    with pytest.raises(UserError, match=r"a mask of a picture of another size, stated 20x64 .* is 48x64"):
        objects(mask, imageHeight=20)


def test_a_folder_without_annotations_is_refused(tmp_path: Path, picture):
    picture(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"holds no annotation of labelme \(\.json\)"):
        read_labelme(tmp_path)


def test_the_list_of_labels(tmp_path: Path):
    assert read_labels(tmp_path) is None
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ndog\ncat\n")
    assert read_labels(tmp_path) == (["dog", "cat"], str(tmp_path / "labels.txt"))
    (tmp_path / "labels.txt").write_text("dog\ndog\n")
    with pytest.raises(UserError, match="holds 2 classes, expected at least one, and each once"):
        read_labels(tmp_path)
