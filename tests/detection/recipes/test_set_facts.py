"""A small COCO set in numbers, and folders whose kind must be guessed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection.data.dataset_splits import DataConfig
from detection.own_sets.split_opener import SplitOpener
from detection.recipes.set_facts import SetFacts, kind_of, survey_set
from foundation.errors import UserError
from tests.detection.conftest import CocoWriter


@pytest.fixture
def own_set(write_coco: CocoWriter, coco_content: dict[str, Any], tmp_path: Path) -> DataConfig:
    """`coco_content` as both splits."""
    file = write_coco()
    return DataConfig(kind="coco", root=str(tmp_path), train=file.name, val=file.name)


def test_a_set_in_numbers(own_set: DataConfig):
    # Boxes of 3 x 2, 2 x 3 and a crowd of 1 x 4, in pictures of 6 x 4, the last of which is empty.
    facts = survey_set(own_set, SplitOpener())
    assert (facts.pictures, facts.classes, facts.median_sides) == (3, 2, (4.0, 6.0))
    assert sorted(facts.boxes.tolist()) == [[1.0, 4.0], [2.0, 3.0], [3.0, 2.0]]
    assert sorted(np.bincount(facts.owners, minlength=3).tolist()) == [0, 1, 2]
    assert facts.masks


def test_masks_that_one_object_lacks(
    own_set: DataConfig, coco_content: dict[str, Any], write_coco: CocoWriter
):
    del coco_content["annotations"][0]["segmentation"]
    write_coco(coco_content)
    assert not survey_set(own_set, SplitOpener()).masks


def test_a_set_without_objects(own_set: DataConfig, coco_content: dict[str, Any], write_coco: CocoWriter):
    write_coco({**coco_content, "annotations": []})
    facts = survey_set(own_set, SplitOpener())
    assert facts.boxes.shape == (0, 2) and not facts.masks


def test_boxes_scale_with_their_picture():
    # The first picture is scaled by 20 / 10; the second by 60 / 40, since its long side would exceed 60.
    sides, boxes = np.array([[10.0, 20.0], [20.0, 40.0]]), np.array([[3.0, 4.0], [2.0, 2.0]])
    facts = SetFacts(1, np.array([[10.0, 20.0], [10.0, 40.0]]), boxes, np.array([0, 1]), masks=False)
    assert facts.resized_boxes(20, 60).tolist() == [[6.0, 8.0], [3.0, 3.0]]
    assert SetFacts(1, sides, boxes, np.array([0, 1]), masks=False).resized_boxes(20, 40)[1].tolist() == [
        2,
        2,
    ]


def test_the_kind_of_a_folder(write_coco: CocoWriter, tmp_path: Path):
    write_coco()
    assert kind_of(tmp_path) == "coco"


def test_folders_of_no_kind(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps({"neither": "nor"}))
    with pytest.raises(
        UserError, match="looks like no data set that is known; say what it is: data.kind=.*coco"
    ):
        kind_of(tmp_path)
    with pytest.raises(UserError, match="none: no such folder; data.root names"):
        kind_of(tmp_path / "none")
    with pytest.raises(UserError, match="a.json: is a file; data.root names the folder of the set"):
        kind_of(tmp_path / "a.json")
