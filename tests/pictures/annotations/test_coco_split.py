from pathlib import Path

import pytest

from pictures.annotations.coco_split import CocoSplit, coco_split, coco_split_of_file


@pytest.mark.parametrize(
    ("split", "annotations", "pictures"),
    [
        ("val2014", "instances_val2014.json", "val2014"),
        ("minival2014", "instances_minival2014.json", "val2014"),
        ("valminusminival2014", "instances_valminusminival2014.json", "val2014"),
        ("test2015", "image_info_test2015.json", "test2015"),
        ("test-dev2015", "image_info_test-dev2015.json", "test2015"),
        ("test", "instances_test.json", "test"),  # of somebody's own set
        ("minival", "instances_minival.json", "minival"),
    ],
)
def test_files_of_cocos_splits(tmp_path: Path, split: str, annotations: str, pictures: str):
    assert coco_split(tmp_path, split) == (tmp_path / "annotations" / annotations, tmp_path / pictures)


def test_pictures_of_all_splits_in_one_folder(tmp_path: Path):
    (tmp_path / "images").mkdir()
    assert coco_split(tmp_path, "val")[1] == tmp_path / "images"
    (tmp_path / "val").mkdir()
    assert coco_split(tmp_path, "val")[1] == tmp_path / "val"


def test_the_pictures_of_an_annotation_file_are_those_of_its_split(tmp_path: Path):
    file = tmp_path / "annotations" / "instances_minival2014.json"
    assert (
        coco_split_of_file(file)
        == CocoSplit(file, tmp_path / "val2014")
        == coco_split(tmp_path, "minival2014")
    )
    test = tmp_path / "annotations" / "image_info_test-dev2017.json"
    assert coco_split_of_file(test) == CocoSplit(test, tmp_path / "test2017")
