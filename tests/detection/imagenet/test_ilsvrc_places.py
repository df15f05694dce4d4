"""Where the archives put things, and what is said where they are not there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detection.imagenet.ilsvrc_places import IlsvrcPlaces
from foundation.errors import UserError


def test_places_of_pictures_and_lists():
    det, loc = IlsvrcPlaces(Path("I"), "DET"), IlsvrcPlaces(Path("I"), "CLS-LOC")
    assert det.image_path("train", "n01/n01_1") == Path("I/Data/DET/train/n01/n01_1.JPEG")
    assert det.annotation_file("val2", "v1") == Path("I/Annotations/DET/val/v1.xml")
    assert loc.list_file("train") == Path("I/ImageSets/CLS-LOC/train_loc.txt")
    assert det.list_file("val1") == Path("I/ImageSets/DET/val1.txt")
    assert (det.synsets.name, loc.synsets.name) == ("map_det.txt", "map_clsloc.txt")


def test_the_devkit_of_any_year(tmp_path: Path, write: Callable):
    places = IlsvrcPlaces(tmp_path, "DET")
    assert places.devkit_file("blacklist").name == "ILSVRC2015_det_validation_blacklist.txt"
    for year in (2014, 2013):
        newest = write(tmp_path, f"devkit/data/ILSVRC{year}_det_validation_blacklist.txt", "")
    assert places.devkit_file("blacklist") == newest.with_name("ILSVRC2014_det_validation_blacklist.txt")


def test_no_folder_at_all(tmp_path: Path):
    text = (
        f"no pictures of ImageNet CLS-LOC in {tmp_path}: expected the folders Annotations/CLS-LOC, "
        "Data/CLS-LOC, ImageSets/CLS-LOC and devkit/data; get the CLS-LOC archive .* ILSVRC2015 or "
        "ILSVRC2017 of https://image-net.org"
    )
    with pytest.raises(UserError, match=text):
        IlsvrcPlaces(tmp_path, "CLS-LOC").require("train")


def test_splits_that_are_not_there(det: Path):
    places = IlsvrcPlaces(det, "DET")
    for split in ("train", "val", "val1", "test"):
        places.require(split)
    with pytest.raises(
        UserError, match=r"val2.txt: no such file. val1 and val2 .* Girshick et al. 2014.*rcnn"
    ):
        places.require("val2")
    with pytest.raises(UserError, match="vall.txt: ImageNet DET has no split 'vall'; did you mean 'val'"):
        places.require("vall")
    with pytest.raises(
        UserError, match="has no split 'train_1'"
    ):  # half of its pictures do not show the class
        places.require("train_1")
