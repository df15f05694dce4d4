"""Every fault of a COCO file becomes its own finding, and the doctor goes on; whole files have none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detection.data.coco_dataset import CocoDataset
from doctor.findings import is_clean
from foundation.errors import UserError

NOTES = {"class_counts", "rare_category"}


def checks(findings: list) -> dict[str, str]:
    return {f.check: f"{f.where}: {f.detail}" for f in findings if f.check not in NOTES}


def test_a_whole_set_is_clean(coco: Path, diagnosis: Callable):
    findings = diagnosis(f"coco:{coco}:{coco.parent / 'pictures'}")
    assert checks(findings) == {} and is_clean(findings)
    assert {f.check for f in findings} == NOTES


def change(content: dict, section: str, row: int, **values: Any) -> None:
    content[section][row].update(values)


# The change, the check, a part of its text, and whether the loader refuses the file.
CASES = {
    "no section": (lambda c: c.pop("categories"), "malformed_entry", "categories", True),
    "an entry that is text": (lambda c: c["images"].append("x"), "malformed_entry", "images[3]", True),
    "a field missing": (
        lambda c: c["annotations"][0].pop("bbox"),
        "malformed_entry",
        "annotations[0]: bbox",
        True,
    ),
    "an id that is a fraction": (
        lambda c: change(c, "annotations", 0, id=1.5),
        "malformed_entry",
        "id is 1.5",
        True,
    ),
    "no size": (lambda c: change(c, "images", 0, width=0), "malformed_entry", "image 1: size is 0x48", True),
    "an image twice": (
        lambda c: c["images"].append(c["images"][0]),
        "duplicate_image_id",
        "images[3]: id 1",
        True,
    ),
    "an annotation id twice": (
        lambda c: change(c, "annotations", 1, id=11),
        "duplicate_annotation_id",
        "id 11",
        True,
    ),
    "a category id twice": (
        lambda c: c["categories"].append({"id": 2, "name": "cow"}),
        "duplicate_category_id",
        "id 2",
        True,
    ),
    "a category name twice": (
        lambda c: c["categories"].append({"id": 3, "name": "cat"}),
        "duplicate_category_name",
        "category 3: 'cat' is also that of category 1",
        False,
    ),
    "a file twice": (
        lambda c: c["images"].append({**c["images"][0], "id": 9}),
        "duplicate_file_name",
        "image 9: '1.png' is also that of image 1",
        False,
    ),
    "an unknown image": (
        lambda c: change(c, "annotations", 0, image_id=99),
        "unknown_image",
        "annotation 11: image_id 99",
        True,
    ),
    "an unhashable image": (
        lambda c: change(c, "annotations", 0, image_id=[1]),
        "unknown_image",
        "annotation 11: image_id [1]",
        True,
    ),
    "an unknown category": (
        lambda c: change(c, "annotations", 0, category_id=7),
        "unknown_category",
        "annotation 11: category_id 7",
        True,
    ),
    "a box with NaN": (
        lambda c: change(c, "annotations", 0, bbox=[1, 2, float("nan"), 4]),
        "malformed_box",
        "nan",
        True,
    ),
    "a box of text": (
        lambda c: change(c, "annotations", 0, bbox=[1, 2, "3", 4]),
        "malformed_box",
        "'3'",
        True,
    ),
    "a negative box": (
        lambda c: change(c, "annotations", 0, bbox=[9, 2, -3, 4]),
        "negative_box",
        "annotation 11",
        True,
    ),
    "an empty box": (
        lambda c: change(c, "annotations", 0, bbox=[9, 2, 0, 4]),
        "empty_box",
        "annotation 11",
        False,
    ),
    "a box outside": (
        lambda c: change(c, "annotations", 0, bbox=[64, 2, 5, 4]),
        "outside_box",
        f"box {64} 2 69 6 in a picture of 64x48",
        False,
    ),
    "a box across the border": (
        lambda c: change(c, "annotations", 0, bbox=[5, 48 - 4, 5, 5]),
        "crossing_box",
        "annotation 11: box 5 44 10 49",
        False,
    ),
    "a tiny box": (
        lambda c: change(c, "annotations", 0, bbox=[5, 4, 5, 0.5]),
        "tiny_box",
        "annotation 11",
        False,
    ),
    "a box twice": (
        lambda c: c["annotations"].append({**c["annotations"][0], "id": 99}),
        "duplicate_box",
        "annotation 99: box 5 6 25 17, same box and class as annotation 11",
        False,
    ),
    "a box nearly twice": (
        lambda c: c["annotations"].append({**c["annotations"][0], "id": 99, "bbox": [5, 6, 20, 11.1]}),
        "near_duplicate_box",
        "annotation 99",
        False,
    ),
    "a damaged polygon": (
        lambda c: change(c, "annotations", 3, segmentation=[[1, 2, 3, 4]]),
        "damaged_segmentation",
        "got [[1, 2, 3, 4]]",
        False,
    ),
    "a run-length of another picture": (
        lambda c: change(c, "annotations", 3, segmentation={"size": [3, 3], "counts": [9]}),
        "damaged_segmentation",
        "annotation 22",
        False,
    ),
    "no segmentation": (
        lambda c: c["annotations"][3].pop("segmentation"),
        "missing_segmentation",
        "annotation 22",
        False,
    ),
    "a gap": (
        lambda c: c["categories"].append({"id": 5, "name": "cow"}),
        "category_gap",
        "3 ids from 1 to 5, without 3, 4",
        False,
    ),
    "a gap of billions": (
        lambda c: c["categories"].append({"id": 2**70, "name": "cow"}),
        "category_gap",
        f"3 ids from 1 to {2**70}, without 3, 4, 5, 6, 7, 8, 9, 10, …",
        False,
    ),
    "a crowd in text": (
        lambda c: change(c, "annotations", 0, iscrowd="0"),
        "malformed_entry",
        "annotation 11: iscrowd is '0', expected the number 0 or 1",
        True,
    ),
    "a polygon far outside": (
        lambda c: change(c, "annotations", 3, segmentation=[[0, 0, 1e9, 0, 1e9, 1e9]]),
        "damaged_segmentation",
        "segmentation is missing or malformed, got [[0, 0, 1000000000.0",
        False,
    ),
    "ids from 0": (
        lambda c: c["categories"].append({"id": 0, "name": "cow"}),
        "category_gap",
        "from 0",
        False,
    ),
    "an unused class": (
        lambda c: c["categories"].append({"id": 3, "name": "cow"}),
        "unused_category",
        "cow",
        False,
    ),
    "a crowd": (lambda c: change(c, "annotations", 0, iscrowd=1), "crowd", "annotation 11", False),
    "a picture without objects": (
        lambda c: c.update(annotations=c["annotations"][2:]),
        "no_objects",
        "1.png",
        False,
    ),
    "no pictures": (lambda c: c.update(images=[], annotations=[]), "no_pictures", "a.json", False),
}


@pytest.mark.parametrize(("harm", "check", "text", "refused"), CASES.values(), ids=CASES)
def test_each_fault_is_found(
    coco: Path,
    diagnosis: Callable,
    harm: Callable,
    check: str,
    text: str,
    refused: bool,
    write: Callable,
    content: dict,
):
    harm(content)
    write(coco, content)
    folder = coco.parent / "pictures"
    findings = diagnosis(f"coco:{coco}:{folder}")
    assert text in checks(findings)[check]
    if refused:  # what stops a training is an error
        with pytest.raises(UserError):
            CocoDataset(coco, folder)
        assert next(f for f in findings if f.check == check).severity == "error"
    else:
        CocoDataset(coco, folder)


def test_all_faults_at_once(coco: Path, diagnosis: Callable, write: Callable, content: dict):
    for row, (field, value) in enumerate([("bbox", None), ("image_id", 99), ("category_id", 99), ("id", 12)]):
        change(content, "annotations", row, **{field: value})
    change(content, "annotations", 4, bbox=[1, 2, 0, 3])
    write(coco, content)
    found = checks(diagnosis(f"coco:{coco}:{coco.parent / 'pictures'}"))
    expected = {"malformed_box", "unknown_image", "unknown_category", "empty_box", "no_objects"}
    assert expected | {"duplicate_annotation_id"} <= found.keys()


def test_small_classes_are_counted(coco: Path, diagnosis: Callable):
    findings = diagnosis(f"coco:{coco}:{coco.parent / 'pictures'}")
    assert [f.where for f in findings if f.check == "rare_category"] == ["cat", "dog"]
    counts = next(f.detail for f in findings if f.check == "class_counts")
    assert counts == "3 pictures, 6 objects, 2 classes: cat 3, dog 3"
