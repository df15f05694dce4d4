import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from detection.data.coco_dataset import CocoDataset
from foundation.errors import UserError
from pictures.decoding import load_image

Content = dict[str, Any]


# Every decoded mask brings one, from inside pycocotools.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def open_coco(path: Path, masks: bool = False) -> CocoDataset:
    return CocoDataset(path, path.parent, masks=masks)


def test_labels_follow_the_ids_and_pictures_the_file(write_coco: Callable[..., Path]):
    # Ids 18 and 1: in ascending order person (1) is label 1 and dog (18) label 2.
    dataset = open_coco(write_coco())
    assert (dataset.classes, dataset.category_ids) == (["person", "dog"], [1, 18])
    assert dataset.image_ids == [30, 10, 20]
    assert [target.image_id for target in dataset.targets] == [30, 10, 20]
    assert [target.labels.tolist() for target in dataset.targets] == [[1], [2, 1], []]
    assert dataset.image_path(1).name == "a.jpg"


def test_boxes_crowd_and_empty_pictures(write_coco: Callable[..., Path]):
    # x, y, width, height [1, 0, 3, 2] is (1, 0, 1 + 3, 0 + 2).
    crowd, objects, nothing = open_coco(write_coco()).targets
    assert objects.boxes.tolist() == [[1, 0, 4, 2], [4, 1, 6, 4]]
    assert objects.ignore.tolist() == [False, False]
    assert crowd.ignore.tolist() == [True]
    assert nothing.boxes.shape == (0, 4)
    assert {target.size for target in (crowd, objects, nothing)} == {(4, 6)}


def test_boxes_are_clipped_for_training_alone(write_coco: Callable[..., Path], coco_content: Content):
    coco_content["annotations"][0]["bbox"] = [-2, 1.5, 20, 9]
    coco_content["annotations"][2]["bbox"] = [0.1, 1, 1e9, 0.2]  # the largest that is legal
    dataset = open_coco(write_coco())
    training, scored = dataset.load_target(1).boxes, dataset.targets[1].boxes
    # 0.1 and 1.2 in single precision.
    expected = torch.tensor([[0, 1.5, 6, 4], [0.1, 1, 6, 1.2]])
    assert training.dtype == torch.float32 and torch.equal(training, expected)
    assert scored.tolist() == [[-2, 1.5, 18, 10.5], [0.1, 1, 1e9 + 0.1, 1.2]]


def test_boxes_without_area_are_scored_not_trained_on_and_counted(
    write_coco: Callable[..., Path], coco_content: Content, caplog: pytest.LogCaptureFixture
):
    coco_content["annotations"][0]["bbox"] = [1, 1, 0, 2]
    coco_content["annotations"][1]["bbox"] = [6, 0, 2, 2]  # outside on the right
    path = write_coco()
    with caplog.at_level(logging.WARNING):
        dataset = open_coco(path, masks=True)
    assert [target.labels.tolist() for target in dataset.targets] == [[1], [2, 1], []]
    assert [dataset.load_target(index).labels.tolist() for index in range(3)] == [[], [1], []]
    text = f"{path}: 2 of 3 boxes have no area inside their picture: scored, but not trained on"
    assert text in caplog.text
    # The mask that stays is that of the box that stays: 2 x 3 pixels at (4, 1).
    mask = dataset.load_target(1).mask
    assert mask is not None
    assert np.argwhere(mask(0)).tolist() == [[y, x] for y in (1, 2, 3) for x in (4, 5)]


def test_nothing_is_logged_where_all_boxes_have_area(
    write_coco: Callable[..., Path], caplog: pytest.LogCaptureFixture
):
    open_coco(write_coco())
    assert not caplog.records


def test_masks_of_polygons_crowds_and_empty_pictures(write_coco: Callable[..., Path]):
    dataset = open_coco(write_coco(), masks=True)
    crowd, objects = (dataset.load_target(index).mask for index in range(2))
    assert crowd is not None and objects is not None
    # Counts [8, 4, 12] run down the columns of 4 pixels: 8 / 4 = column 2.
    assert np.argwhere(crowd(0)).tolist() == [[y, 2] for y in range(4)]
    assert np.argwhere(objects(0)).tolist() == [[y, x] for y in (0, 1) for x in (1, 2, 3)]
    assert (objects(1).shape, objects(1).dtype) == ((4, 6), np.bool_)
    assert open_coco(write_coco()).load_target(1).mask is None


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [1, 0, 4, 0, 4, 2],  # a polygon where a list of them belongs
        [[1, 0, 4, 0]],
        [[1, 0, 4, 0, 4, 2, 1]],
        {"size": [6, 4], "counts": [0, 24]},  # width before height
        {"size": [4, 6], "counts": [8, 4]},  # ends before the picture does
        {"size": [4, 6], "counts": [8, -4, 20]},
        {"size": [4, 6]},
    ],
)
def test_malformed_segmentations(write_coco: Callable[..., Path], coco_content: Content, segmentation: Any):
    coco_content["annotations"][2]["segmentation"] = segmentation
    path = write_coco()
    with pytest.raises(
        UserError, match=r"instances\.json: annotation 3: segmentation is missing or malformed"
    ):
        open_coco(path, masks=True)
    assert len(open_coco(path)) == 3


def test_without_any_picture(write_coco: Callable[..., Path]):
    dataset = open_coco(write_coco({"images": [], "categories": [], "annotations": []}), masks=True)
    assert len(dataset) == 0
    assert dataset.targets == []


def test_ids_of_every_kind_come_back(write_coco: Callable[..., Path], coco_content: Content):
    coco_content["images"][0]["id"] = coco_content["annotations"][1]["image_id"] = "night/1"
    coco_content["images"][2]["id"] = 2**63
    dataset = open_coco(write_coco())
    assert [target.image_id for target in dataset.targets] == ["night/1", 10, 2**63] == dataset.image_ids


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_real_pictures_equal_pycocotools(real_data: Path, split: str):
    folder = real_data / "coco"
    path = folder / "annotations" / f"instances_{split}.json"
    dataset, reference = CocoDataset(path, folder / split, masks=True), COCO(str(path))
    assert len(dataset.classes) == 80
    ids = dict(enumerate(dataset.category_ids, start=1))
    assert sum(int(target.ignore.sum()) for target in dataset.targets) > 0
    for index, image_id in enumerate(dataset.image_ids):
        target, expected = (
            dataset.load_target(index),
            reference.loadAnns(reference.getAnnIds(imgIds=[image_id])),
        )
        assert [ids[label] for label in target.labels.tolist()] == [a["category_id"] for a in expected]
        assert target.ignore.tolist() == [bool(a["iscrowd"]) for a in expected]
        boxes = np.array([a["bbox"] for a in expected]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        assert target.boxes.numpy() == pytest.approx(boxes, abs=0.02)
        assert target.mask is not None
        for number, entry in enumerate(expected):
            assert np.array_equal(target.mask(number), reference.annToMask(entry))
        assert load_image(dataset.image_path(index), target.size).shape == (*target.size, 3)


def test_masks_of_dropped_boxes_are_checked_as_the_scorer_does(
    write_coco: Callable[..., Path], coco_content: Content
):
    coco_content["annotations"][0].update(bbox=[1, 1, 0, 2], segmentation=[[1, 2]])
    with pytest.raises(UserError, match="annotation 1: segmentation is missing or malformed"):
        open_coco(write_coco(), masks=True)
