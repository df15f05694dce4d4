"""Splits joined by "+"."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.data.annotations import JoinedDataset, void_pairs
from detection.data.coco_dataset import CocoDataset
from detection.data.dataset_splits import DataConfig, open_dataset
from detection.data.detection_batches import PreparedPictures, aspect_groups
from foundation.errors import UserError
from training.loader import Item

# Every decoded mask brings one, from inside pycocotools.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def open_coco(root: Path, split: str, *, masks: bool = False) -> Any:
    return open_dataset(DataConfig(kind="coco", root=str(root)), split, masks=masks)


@pytest.fixture
def two(coco_root: Path, coco_content: dict[str, Any]) -> Path:
    """`coco_root` with a second split "more": one upright picture of 4 x 3 with one object."""
    first = coco_content["annotations"][0]
    entry = {**first, "image_id": 7, "bbox": [0, 1, 2, 3], "segmentation": [[0, 1, 2, 1, 2, 4, 0, 4]]}
    content = {**coco_content, "annotations": [entry]}
    content["images"] = [{"id": 7, "file_name": "a.jpg", "height": 4, "width": 3}]
    (coco_root / "annotations" / "instances_more.json").write_text(json.dumps(content))
    (coco_root / "more").mkdir()
    Image.new("RGB", (3, 4)).save(coco_root / "more" / "a.jpg")
    return coco_root


def test_one_after_the_other(two: Path):
    joined = open_coco(two, "val+more", masks=True)
    assert isinstance(joined, JoinedDataset) and joined.has_truth
    assert (joined.classes, joined.category_ids) == (["person", "dog"], [1, 18])
    assert (len(joined), joined.image_ids) == (4, [30, 10, 20, 7])
    assert joined.image_sizes == [(4, 6), (4, 6), (4, 6), (4, 3)]
    assert aspect_groups(joined) == [1, 1, 1, 0]
    paths = [joined.image_path(index).relative_to(two).as_posix() for index in range(4)]
    assert paths == ["val/c.jpg", "val/a.jpg", "val/b.jpg", "more/a.jpg"]
    assert [target.labels.tolist() for target in joined.targets] == [[1], [2, 1], [], [2]]
    assert [joined.load_target(index).image_id for index in range(4)] == [30, 10, 20, 7]
    got = PreparedPictures(joined, DataConfig(short_side=3, max_side=6, flip=False), masks=True)[Item(3, 0)]
    assert got.masks is not None
    assert np.unpackbits(got.masks[0].numpy(), axis=1)[:, :3].tolist() == [[0, 0, 0], *[[1, 1, 0]] * 3]


def test_the_blacklist_moves_with_its_pictures(two: Path):
    first, second = (open_coco(two, split) for split in ("val", "more"))
    joined = JoinedDataset([first, second], "val+more")
    assert void_pairs(joined) == void_pairs(first) == frozenset()
    first.void_pairs, second.void_pairs = frozenset({(2, 1)}), frozenset({(0, 2), (0, 1)})
    assert void_pairs(joined) == {(2, 1), (3, 2), (3, 1)}
    assert void_pairs(JoinedDataset([second, first], "more+val")) == {(0, 2), (0, 1), (3, 1)}


def test_an_empty_split_shifts_nothing(two: Path):
    content = {"images": [], "annotations": [], "categories": [{"id": 18, "name": "dog"}]}
    content["categories"].append({"id": 1, "name": "person"})
    (two / "annotations" / "instances_none.json").write_text(json.dumps(content))
    joined = open_coco(two, "none+more+none+val")
    assert [joined.load_target(index).image_id for index in range(4)] == [7, 30, 10, 20]


def test_pictures_in_two_splits_are_refused(two: Path):
    with pytest.raises(UserError, match=r"^val\+more\+val: picture (30|10|20) is in two of the splits"):
        open_coco(two, "val+more+val")


def test_other_classes_are_refused(two: Path):
    file = two / "annotations" / "instances_more.json"
    content = json.loads(file.read_text())
    content["categories"][0]["name"] = "cat"
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"val\+more: the splits have different classes, .*dog.*cat"):
        open_coco(two, "val+more")


def test_without_truth_in_one_there_is_none(two: Path):
    content = json.loads((two / "annotations" / "instances_more.json").read_text())
    del content["annotations"]
    (two / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    (two / "more").rename(two / "test2017")
    dataset = open_coco(two, "test-dev2017", masks=True)
    assert isinstance(dataset, CocoDataset) and not dataset.has_truth
    assert dataset.image_path(0) == two / "test2017" / "a.jpg"
    assert (dataset.image_sizes, len(dataset.load_target(0).boxes)) == ([(4, 3)], 0)
    assert open_coco(two, "val").has_truth and not open_coco(two, "val+test-dev2017").has_truth


def test_penn_fudan(real_data: Path):
    dataset = open_coco(real_data / "PennFudanPed", "val", masks=True)
    assert (len(dataset), dataset.classes) == (50, ["person"])
    pictures = PreparedPictures(dataset, DataConfig(short_side=200, max_side=300), masks=True)
    for index in range(0, 50, 7):
        got = pictures[Item(index, index)]
        assert got.masks is not None and len(got.masks) == len(got.boxes) > 0
