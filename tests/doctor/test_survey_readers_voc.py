"""Every fault of a VOC split becomes its own finding, and the doctor goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detection.data.voc_dataset import VocDataset
from doctor.findings import is_clean
from foundation.errors import UserError


def test_a_whole_split_is_clean(voc: Path, diagnosis: Callable):
    findings = diagnosis(f"voc:{voc}:trainval")
    assert is_clean(findings)
    assert {f.check for f in findings} == {"class_counts", "unused_category", "rare_category"}


def test_difficult_objects_are_noted(voc: Path, diagnosis: Callable):
    path = voc / "Annotations" / "000001.xml"
    path.write_text(path.read_text().replace("<bndbox>", "<difficult>1</difficult><bndbox>"))
    found = {f.check: f for f in diagnosis(f"voc:{voc}:trainval")}
    assert found["difficult"].where == "000001.xml object 1" and "crowd" not in found


# Objects of picture 000002, its stated size, the check, a part of its text.
CASES = {
    "unknown class": ([("catt", (5, 6, 30, 40))], (64, 48), "unknown_category", "did you mean 'cat'"),
    "text for a number": ([("cat", (5, 6, "x", 40))], (64, 48), "malformed_box", "'x'"),
    "infinite": ([("cat", (5, 6, "inf", 40))], (64, 48), "malformed_box", "'inf'"),
    "ends before it begins": (
        [("cat", (5, 6, 3, 40))],
        (64, 48),
        "negative_box",
        "xmin 5, ymin 6, xmax 3, ymax 40",
    ),
    "outside": ([("cat", (66, 6, 70, 40))], (64, 48), "outside_box", "box xmin 66"),
    "no size": ([("cat", (5, 6, 30, 40))], (0, 48), "malformed_entry", "000002.xml"),
}


@pytest.mark.parametrize(("objects", "size", "check", "text"), CASES.values(), ids=CASES)
def test_what_the_loader_refuses_is_an_error(
    voc: Path, diagnosis: Callable, objects: list, size: tuple, check: str, text: str, write_xml: Callable
):
    write_xml(voc, "000002", objects, size)
    found = {f.check: f for f in diagnosis(f"voc:{voc}:trainval")}
    assert text in f"{found[check].where} {found[check].detail}" and found[check].severity == "error"
    with pytest.raises(UserError):
        VocDataset(voc.parent, [("2007", "trainval")])


def test_a_box_across_the_border_is_a_warning(voc: Path, diagnosis: Callable, write_xml: Callable):
    write_xml(voc, "000002", [("cat", (5, 6, 66, 40)), ("cat", (0, 6, 30, 40))])
    found = [f for f in diagnosis(f"voc:{voc}:trainval") if f.check == "crossing_box"]
    assert [f.where for f in found] == ["000002.xml object 1", "000002.xml object 2"]
    assert found[0].severity == "warning"
    VocDataset(voc.parent, [("2007", "trainval")])


def test_files_missing_damaged_or_listed_twice(voc: Path, diagnosis: Callable):
    (voc / "ImageSets" / "Main" / "trainval.txt").write_text("000001\n000002\n000001\n000003\n")
    (voc / "Annotations" / "000002.xml").write_text("<annotation>")
    findings = diagnosis(f"voc:{voc}:trainval")
    malformed = [f.where.rpartition("/")[2] for f in findings if f.check == "malformed_entry"]
    assert malformed == ["000002.xml", "000003.xml"]
    found = {f.check: f.where for f in findings}
    assert found["duplicate_image_id"] == "000001" and found["missing_picture"] == "000003"


def test_no_such_split(voc: Path, diagnosis: Callable):
    with pytest.raises(UserError, match="test.txt: VOC2007 has no split 'test'"):
        diagnosis(f"voc:{voc}:test")
