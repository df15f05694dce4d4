"""Records of result files, by the ids of the set they are scored on."""

import json
from pathlib import Path
from typing import Any

import pytest

from detection.data.coco_dataset import CocoDataset
from detection.result_files.record_reading import read_records
from foundation.errors import UserError

RECORD = {"image_id": 1, "category_id": 18, "bbox": [0, 0, 2, 2], "score": 0.5}


@pytest.fixture
def dataset(coco_root: Path) -> CocoDataset:
    return CocoDataset(coco_root / "annotations" / "instances_val.json", coco_root / "val")


def write(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def test_a_list_is_taken_as_it_is(dataset: CocoDataset, tmp_path: Path):
    records = [{**RECORD, "image_id": 10}]
    assert read_records(write(tmp_path / "a.json", records), dataset, []) == records


@pytest.mark.parametrize("name", ["a.jpg", "val/a.jpg"])
def test_pictures_are_found_by_name_below_any_folder(dataset: CocoDataset, tmp_path: Path, name: str):
    folders = [dataset.image_folder, dataset.image_folder.parent]
    content = {"images": [{"id": 1, "file_name": name}], "annotations": [RECORD]}
    assert read_records(write(tmp_path / "a.json", content), dataset, folders) == [{**RECORD, "image_id": 10}]


def test_other_pictures_and_classes_are_refused(dataset: CocoDataset, tmp_path: Path):
    images = [{"id": 1, "file_name": "a.jpg"}]
    content = {"images": images, "annotations": [RECORD], "categories": [{"id": 18, "name": "dog"}]}
    assert read_records(write(tmp_path / "a.json", content), dataset, [dataset.image_folder])
    other = {**content, "categories": [{"id": 7, "name": "cup"}, {"id": 18, "name": "cat"}]}
    with pytest.raises(UserError, match=r"a\.json: category 18 is 'cat' there, and 'dog' in the data set"):
        read_records(write(tmp_path / "a.json", other), dataset, [dataset.image_folder])
    other = {**content, "images": [{"id": 1, "file_name": "z.jpg"}]}
    with pytest.raises(UserError, match=r"a\.json: picture 'z.jpg' is not in the data set"):
        read_records(write(tmp_path / "a.json", other), dataset, [dataset.image_folder])
