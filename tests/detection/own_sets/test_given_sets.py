"""Sets as command lines name them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detection.own_sets.given_sets import find_given, parse_given, read_given
from foundation.errors import UserError

FILES = {
    "images/train/a.jpg": None,
    "labels/train/a.txt": "0 0.5 0.5 0.2 0.2",
    "images/val/b.jpg": None,
    "labels/val/b.txt": "",
    "classes.txt": "cat\n",
}


def test_all_splits_or_one(place: Callable):
    root = place(FILES)
    found = find_given(f"yolo:{root}")
    assert found is not None
    assert [(split.name, split.text, split.what) for split in found] == [
        (name, f"yolo:{root}:{name}", "YOLO in folders") for name in ("train", "val")
    ]
    (validation,) = read_given(f"yolo:{root}:val")
    assert validation.layout.content["images"][0]["file_name"] == "images/val/b.jpg"
    with pytest.raises(UserError, match=r"\(YOLO in folders\) has no split 'vla'; did you mean 'val'"):
        find_given(f"yolo:{root}:vla")


@pytest.mark.parametrize(
    "text", ["coco:a.json", "coco:a.json:pictures", "voc:devkit/VOC2007:train", "yolo:", "shapes:x", "x"]
)
def test_other_forms(text: str):
    assert find_given(text) is None


@pytest.mark.parametrize(
    ("text", "root", "split"),
    [
        ("yolo:{set}", "{set}", ""),
        ("yolo:{set}:val", "{set}", "val"),
        ("voc:{set}:2007:test", "{set}", "2007:test"),
        ("yolo:{set}/none:val", "{set}/none", "val"),
        ("csv:none", "none", ""),
    ],
)
def test_the_split_is_what_follows_the_folder(place: Callable, text: str, root: str, split: str):
    folder = str(place(FILES))
    given = parse_given(text.format(set=folder))
    assert given == (text.partition(":")[0], root.format(set=folder), split)


def test_a_set_that_is_not_divided_has_the_parts_of_a_training(place: Callable):
    names = [f"{number}.jpg" for number in range(5)]
    root = place({"0.txt": "0 0.5 0.5 0.2 0.2", "classes.txt": "cat", **dict.fromkeys(names)})
    (whole,), (part,) = read_given(f"yolo:{root}"), read_given(f"yolo:{root}:val")
    assert [len(given.layout.content["images"]) for given in (whole, part)] == [5, 1]


def test_files_and_devkits_are_read_too(write_coco: Callable[..., Path], write_voc: Callable[..., Path]):
    file = write_coco()
    (given,) = read_given(f"coco:{file}:{file.parent}")
    assert (given.name, given.layout.pictures) == ("instances", file.parent)
    devkit = write_voc({"000007": [("cat", (11, 21, 30, 40), 1)]}, split="val")
    (given,) = read_given(f"voc:{devkit}/VOC2007:val")
    (entry,) = given.layout.content["annotations"]
    assert (entry["bbox"], entry["iscrowd"], entry["category_id"]) == ([10, 20, 20, 20], 1, 8)
    with pytest.raises(UserError, match="'pictures' is no set of boxes; expected KIND:ROOT"):
        read_given("pictures")
