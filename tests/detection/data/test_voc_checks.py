"""What is read of a VOC annotation, and everything that is wrong with one."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from detection.data.voc_checks import VocObject, XmlForm, read_annotation, read_object

CAT = "<object><name>cat</name><difficult>1</difficult><bndbox>{}</bndbox></object>"
CLASSES = ["bird", "cat"]


def corners(*values: object) -> str:
    sides = ("xmin", "ymin", "xmax", "ymax")
    return CAT.format("".join(f"<{side}>{v}</{side}>" for side, v in zip(sides, values, strict=True)))


def write(path: Path, size: str, *objects: str) -> Path:
    path.write_text(f"<annotation><size>{size}</size>{''.join(objects)}</annotation>")
    return path


SIZE = "<width>6</width><height>4</height>"


def test_a_whole_annotation(tmp_path: Path):
    read = read_annotation(write(tmp_path / "1.xml", SIZE, corners(1, 2, 6, 4)), CLASSES)
    # 1-based and inclusive (1, 2, 6, 4) begins at edge 0, 1.
    assert read == ((4, 6), [VocObject(1, 2, (0, 1, 6, 4), True)], [])


def test_all_problems_are_given(tmp_path: Path):
    wrong = [corners(5, 1, 3, 2).replace("cat", "cow"), corners(1, 1, "x", 2), corners(7, 1, 9, 2)]
    read = read_annotation(write(tmp_path / "1.xml", SIZE, *wrong, corners(1, 1, 2, 2)), CLASSES)
    assert [(p.check, p.where) for p in read.problems] == [
        ("unknown_category", "object 1"),
        ("negative_box", "object 1"),
        ("malformed_box", "object 2"),
        ("outside_box", "object 3"),
    ]
    assert [found.number for found in read.objects] == [4]
    error = read.problems[2].error("1.xml")
    assert str(error).startswith("1.xml: object 2: <bndbox/xmax> is 'x', expected a number of pixels")


def test_without_a_size_a_box_may_lie_anywhere(tmp_path: Path):
    read = read_annotation(write(tmp_path / "1.xml", "<width>6</width>", corners(70, 1, 90, 2)), CLASSES)
    assert read.size is None and [found.box for found in read.objects] == [(69, 0, 90, 2)]
    assert [(p.check, p.where) for p in read.problems] == [("malformed_entry", "")]


def test_a_box_between_the_border_and_the_first_pixel_is_outside():
    # Edge 0.5 lies in the picture, but 1-based pixel 0.5 does not: loader and doctor must agree.
    node = ElementTree.fromstring(corners(-3, 1, 0.5, 2))
    (problem,) = read_object(node, 1, CLASSES, (4, 6))
    assert problem.check == "outside_box"  # type: ignore[union-attr]


FROM_ZERO = XmlForm(0, "numbers, listed in map.txt", spelt=False, lists="Lists")


def test_a_form_that_counts_from_0(tmp_path: Path):
    path = write(tmp_path / "1.xml", SIZE, corners(0, 1, 5, 3), corners(5, 0, 5, 0))
    read = read_annotation(path, CLASSES, form=FROM_ZERO)
    # 0-based and inclusive (0, 1, 5, 3) ends at edge 6, 4; one pixel has an area.
    assert [found.box for found in read.objects] == [(0, 1, 6, 4), (5, 0, 6, 1)]
    wrong = [corners(6, 0, 7, 2), corners(-2, 0, -1, 2), corners(0, 0, 1, 1).replace("cat", "cow")]
    read = read_annotation(write(path, SIZE, *wrong), CLASSES, form=FROM_ZERO)
    assert [problem.check for problem in read.problems] == ["outside_box", "outside_box", "unknown_category"]
    assert "expected 0 <= xmin <= xmax" in read.problems[0].text
    assert read.problems[2].text == "'cow' is not among the classes (numbers, listed in map.txt)"
    absent = read_annotation(tmp_path / "2.xml", CLASSES, form=FROM_ZERO)
    assert absent.problems[0].text == "missing, though Lists lists 2; restore it"


def test_unreadable_files(tmp_path: Path):
    missing = read_annotation(tmp_path / "7.xml", CLASSES)
    assert missing.problems[0].text == "missing, though ImageSets/Main lists 7; restore it"
    for content in (
        b"<annotation>",
        b"",
        b"\x89PNG",
        b"<?xml version='1.0' encoding='klingon'?><a/>",
    ):
        (tmp_path / "7.xml").write_bytes(content)
        text = read_annotation(tmp_path / "7.xml", CLASSES).problems[0].text
        assert "is damaged or of another kind" in text and text.endswith("expected an XML file; restore it")
    (tmp_path / "8.xml").mkdir()
    text = read_annotation(tmp_path / "8.xml", CLASSES).problems[0].text
    assert text == "is a folder, expected a file, expected an XML file; restore it"


@pytest.mark.parametrize("encoding", ["gb2312", "GBK", "utf-16"])
def test_annotations_in_other_encodings(tmp_path: Path, encoding: str):
    size = "<size><width>6</width><height>4</height></size>"
    content = f"<?xml version='1.0' encoding='{encoding}'?><annotation><folder>中</folder>{size}</annotation>"
    (tmp_path / "7.xml").write_bytes(content.encode(encoding))
    assert read_annotation(tmp_path / "7.xml", CLASSES) == ((4, 6), [], [])


@pytest.mark.parametrize(
    ("text", "difficult"), [("1", True), ("1.0", True), (" 0 ", False), ("0.0", False), ("", False)]
)
def test_difficult(text: str, difficult: bool):
    node = ElementTree.fromstring(corners(1, 2, 6, 4).replace(">1</difficult", f">{text}</difficult"))
    found = read_object(node, 1, CLASSES, (4, 6))
    assert isinstance(found, VocObject) and found.difficult is difficult


@pytest.mark.parametrize("text", ["true", "2", "-1", "no", "Unspecified", "nan", "0_1", "1 0"])
def test_difficult_is_0_or_1(text: str):
    node = ElementTree.fromstring(corners(1, 2, 6, 4).replace(">1</difficult", f">{text}</difficult"))
    (problem,) = read_object(node, 3, CLASSES, (4, 6))
    text = f"object 3: <difficult> is {text!r}, expected 0 or 1; enter which it is"
    assert str(problem.error("a.xml")) == f"a.xml: {text}"  # type: ignore[union-attr]


@pytest.mark.parametrize("number", ["1_0", "inf", "1e300", "-1e10", "", "x", "\u0663"])
def test_sides_are_decimal_numbers_of_pixels(number: str):
    (problem,) = read_object(ElementTree.fromstring(corners(1, 1, number, 2)), 1, CLASSES, None)
    assert problem.check == "malformed_box"  # type: ignore[union-attr]
    assert problem.text.startswith(f"<bndbox/xmax> is {number!r}, expected")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("width", "legal"), [("6.0", True), ("6.5", False), ("1e300", False), ("1_0", False)]
)
def test_sizes_are_whole_numbers(tmp_path: Path, width: str, legal: bool):
    file = write(tmp_path / "1.xml", f"<width>{width}</width><height>4</height>")
    assert read_annotation(file, CLASSES).size == ((4, 6) if legal else None)
