"""What a folder's set looks like, and what is said where another kind was stated."""

from collections.abc import Callable

import pytest

from detection.own_sets.kind_guess import guess_kind
from foundation.errors import UserError

COCO = '{"images": [], "categories": [], "annotations": []}'


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"data.yaml": "train: images\nnames: [a]\n"}, "yolo"),
        ({"obj.data": ""}, "yolo"),
        ({"a.jpg": None, "a.txt": "0 0.5 0.5 0.1 0.1"}, "yolo"),
        ({"images/a.jpg": None, "labels/a.txt": ""}, "yolo"),
        ({"train/_annotations.coco.json": COCO}, "coco"),
        ({"Annotations/a.xml": "<annotation/>"}, "voc"),
        ({"a.json": '{"shapes": []}'}, "labelme"),
        ({"a.json": '{"_via_img_metadata": {}}'}, "via"),
        ({"boxes.csv": "a.jpg,1,2,3,4,cat"}, "csv"),
        ({"a.jpg": None, "README.txt": "a picture of a cat on a mat", "x.json": "[]", "y.json": "{"}, None),
    ],
)
def test_kinds(place: Callable, files: dict[str, str | None], kind: str | None):
    assert guess_kind(place(files)) == kind
    assert guess_kind(place(files) / "none") is None


def test_a_yaml_that_is_no_text_hides_nothing(place: Callable):
    root = place({"boxes.csv": "a.jpg,1,2,3,4,cat"})
    (root / "odd.yaml").write_bytes(b"\xff\xfe\x00")
    assert guess_kind(root) == "csv"


def test_a_data_yaml_stands_for_its_folder(place: Callable):
    root = place({"data.yaml": "train: images\nnames: [a]\n", "other.yaml": "optim: {lr: 1}\n"})
    assert guess_kind(root / "data.yaml") == "yolo"
    assert guess_kind(root / "other.yaml") is None


def test_a_set_of_another_kind_is_called_so(place: Callable, opened: Callable):
    root = place({"a.xml": "<annotation/>", "a.jpg": None})
    with pytest.raises(UserError, match=r"holds no COCO set: .*It looks like a set of data\.kind=voc$"):
        opened("coco", root)
