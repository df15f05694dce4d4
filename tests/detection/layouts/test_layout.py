"""Splits of sets in the layouts of other programs: found by their role, drawn where there are none."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detection.layouts.layout import (
    FoundSet,
    Layout,
    SetOptions,
    categories,
    choose_classes,
    draw,
    open_layout,
    read_split,
    told_apart,
)
from foundation.errors import UserError


def layout(pictures: int, source: str = "set") -> Layout:
    """Pictures 1…N of 20 x 10 with one object each, whose label is a where the number is odd, else b."""
    numbers = range(1, pictures + 1)
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 10, "width": 20} for n in numbers],
        "categories": categories(["a", "b"]),
        "annotations": [
            {"id": f"{n}.txt line 1", "image_id": n, "category_id": 2 - n % 2, "bbox": [1, 2, 3, 4]}
            for n in numbers
        ],
    }
    return Layout(content, Path("nowhere"), source)


def found(**splits: int) -> FoundSet:
    return FoundSet("hand-made", Path("set"), {k: lambda k=k, n=n: layout(n, k) for k, n in splits.items()})


def names(read: Layout) -> list[str]:
    return [image["file_name"] for image in read.content["images"]]


@pytest.mark.parametrize(
    ("there", "asked", "read"),
    [
        ({"train": 1, "valid": 2, "test": 3}, "val", "valid"),
        ({"Train": 1, "Validation": 2}, "val", "Validation"),
        ({"training": 1, "validation": 2}, "train", "training"),
        ({"train": 1, "val": 2, "test": 3}, "test", "test"),
        ({"everything": 1, "val": 2}, "everything", "everything"),
    ],
)
def test_splits_are_found_by_their_role(there: dict[str, int], asked: str, read: str):
    assert read_split(found(**there), asked, SetOptions()).source == read


def test_an_unknown_split_names_the_closest():
    text = r"set \(hand-made\) has no split 'tets'; did you mean 'test'\?"
    with pytest.raises(UserError, match=text):
        read_split(found(train=1, test=1), "tets", SetOptions())


def test_an_undivided_set_is_divided_by_the_seed(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        training = read_split(found(train=10), "train", SetOptions())
    validation = read_split(found(train=10), "val", SetOptions())
    assert (len(names(training)), len(names(validation))) == (8, 2)
    assert sorted(names(training) + names(validation)) == sorted(names(layout(10)))
    assert [entry["image_id"] for entry in validation.content["annotations"]] == [
        image["id"] for image in validation.content["images"]
    ]
    text = "of its 10 pictures 8 train and 2 validate, drawn by data.split_seed=0 with data.val_share=0.2"
    assert text in caplog.text
    other = read_split(found(train=10), "val", SetOptions(split_seed=1, val_share=0.5))
    assert len(names(other)) == 5


def test_the_draw_is_the_same_everywhere():
    # printf "0 a" | sha256sum begins with cf, of b with 84, of c with ed.
    assert draw(["a", "b", "c"], 0.3, 0) == {"b"} == draw(["c", "b", "a"], 0.01, 0)
    assert len(draw(["a", "b", "c"], 0.99, 0)) == 2


def test_a_named_split_is_not_divided():
    assert len(names(read_split(found(train=10), "train", SetOptions(val="train")))) == 10


def test_one_picture_is_trained_and_validated_on(caplog: pytest.LogCaptureFixture):
    for split in ("train", "val"):
        assert names(read_split(found(all=1), split, SetOptions())) == ["1.jpg"]
    assert "all holds 1 picture: it is trained and validated on" in caplog.text


def test_classes_in_the_order_of_the_configuration():
    chosen = choose_classes(layout(2), ("c", "b", "a")).content
    assert chosen["categories"] == categories(["c", "b", "a"])
    assert [entry["category_id"] for entry in chosen["annotations"]] == [3, 2]


def test_a_list_that_lacks_a_label():
    text = (
        r"set: annotation 2.txt line 1: label 'b' is not in data.classes=\[a\]; add it there, or leave "
        "data.classes out to take all that occur"
    )
    with pytest.raises(UserError, match=text):
        read_split(found(set=2), "train", SetOptions(classes=("a",)))


@pytest.mark.parametrize("change", [{"image_id": 9}, {"bbox": [1, 2, -3, 4]}, {"category_id": 7}])
def test_faults_name_the_place_in_the_users_file(change: dict[str, Any]):
    read = layout(2)
    read.content["annotations"][1] |= change
    with pytest.raises(UserError, match=r"^set: annotation 2.txt line 1: "):
        open_layout(read, masks=False)
    with pytest.raises(UserError, match=r"^set: annotation 2.txt line 1: "):
        read_split(FoundSet("", Path(), {"all": lambda: read}), "train", SetOptions())


def test_a_layout_is_a_data_set_with_its_truth():
    dataset = open_layout(layout(2), masks=False)
    assert (dataset.classes, len(dataset), dataset.has_truth) == (["a", "b"], 2, True)
    assert dataset.load_target(1).boxes.tolist() == [[1, 2, 4, 6]]
    assert dataset.truth() == layout(2).content


def test_pictures_that_have_a_number_in_common_are_called_by_their_files():
    first, second = layout(2), replace(layout(1), pictures=Path("nowhere/valid"))
    one, other = told_apart([first, second], Path("nowhere"))
    assert [image["id"] for image in one.content["images"]] == ["1.jpg", "2.jpg"]
    assert [entry["image_id"] for entry in one.content["annotations"]] == ["1.jpg", "2.jpg"]
    assert [image["id"] for image in other.content["images"]] == ["valid/1.jpg"]
    assert names(other) == ["1.jpg"] and other.content["annotations"][0]["image_id"] == "valid/1.jpg"
    broken = replace(first, content=[])  # left to the check
    assert told_apart([first, second, broken], Path("nowhere"))[2] is broken


def test_pictures_without_a_number_in_common_keep_theirs():
    other = layout(1)
    other.content["images"][0]["id"] = 7
    assert told_apart([layout(2), other], Path("nowhere")) == [layout(2), other]
