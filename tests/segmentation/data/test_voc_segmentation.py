from pathlib import Path

import pytest

from foundation.errors import UserError
from segmentation.data.voc_segmentation import open_voc
from segmentation.types import IGNORED
from tests.segmentation.conftest import LabelWriter, save


def test_a_split(write_devkit: LabelWriter):
    devkit = write_devkit({"2007_1": [[0, 15, 255]], "2007_2": [[20, 20]]}, "train")
    dataset = open_voc(devkit, "2012:train")
    assert (
        dataset.classes[0] == "background" and dataset.classes[15] == "person" and len(dataset.classes) == 21
    )
    assert [dataset.image_id(index) for index in range(2)] == ["2007_1", "2007_2"]
    assert dataset.image_path(0).name == "2007_1.jpg"
    assert dataset.load_labels(0).tolist() == [[0, 15, IGNORED]]


def test_the_augmented_list_takes_sbds_label_maps(write_devkit: LabelWriter):
    devkit = write_devkit({"a": [[1]], "b": [[2]]}, "train")
    lists = devkit / "VOC2012" / "ImageSets" / "Segmentation"
    with pytest.raises(
        UserError, match="no split 'train_aug' .*; put SBD's list there, and its label maps in"
    ):
        open_voc(devkit, "2012:train_aug")
    save(devkit / "VOC2012" / "SegmentationClassAug" / "a.png", [[3]])
    # As DeepLab's lists have it; b has no label map of SBD's, so VOC's own counts.
    lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in "ab"]
    (lists / "train_aug.txt").write_text("\n".join(lines))
    dataset = open_voc(devkit, "2012:train_aug")
    assert [dataset.load_labels(index).tolist() for index in range(2)] == [[[3]], [[2]]]
    assert open_voc(devkit, "2012:train").load_labels(0).tolist() == [[1]]


@pytest.mark.parametrize("first", ["", "background\n"])
def test_other_classes_follow_the_background(write_devkit: LabelWriter, first: str):
    devkit = write_devkit({"a": [[0, 1]]}, "train")
    (devkit / "VOC2012" / "classes.txt").write_text(f"{first}cat\ndog\n")
    assert open_voc(devkit, "2012:train").classes == ["background", "cat", "dog"]


def test_a_test_split_without_label_maps_has_no_truth(write_devkit: LabelWriter):
    devkit = write_devkit({"a": [[0, 1]]}, "test")
    assert open_voc(devkit, "2012:test").has_truth
    (devkit / "VOC2012" / "SegmentationClass" / "a.png").unlink()
    assert not open_voc(devkit, "2012:test").has_truth


def test_what_is_missing(write_devkit: LabelWriter, tmp_path: Path):
    devkit = write_devkit({"a": [[0]], "b": [[0]]}, "train", "val")
    with pytest.raises(UserError, match="no split 'vall' for segmentation; did you mean 'val'"):
        open_voc(devkit, "2012:vall")
    with pytest.raises(UserError, match="year:split, for instance 2012:train, got 'train'"):
        open_voc(devkit, "train")
    with pytest.raises(UserError, match=r"no VOC segmentation in .*VOC2007: .* get VOC2007 from http"):
        open_voc(devkit, "2007:train")
    (devkit / "VOC2012" / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(UserError, match="has no picture 'b'; 1 of 2 of 2012:train are missing"):
        open_voc(devkit, "2012:train")
    (devkit / "VOC2012" / "ImageSets" / "Segmentation" / "train.txt").write_text("a  1\n")
    with pytest.raises(UserError, match="'a  1' is the name of no picture"):
        open_voc(devkit, "2012:train")
