from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from segmentation.data.segmentation_sets import SegmentationData, check_set, open_set
from tests.segmentation.conftest import LabelWriter, save


def test_splits_and_places_of_the_kinds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATA_ROOT", "there")
    voc = SegmentationData(val="2012:trainval")
    assert (voc.train, voc.val, voc.folder) == ("2012:train", "2012:trainval", Path("there/VOCdevkit"))
    ade = SegmentationData(kind="ade20k", root="mine")
    assert (ade.train, ade.val, ade.folder) == ("training", "validation", Path("mine"))
    with pytest.raises(UserError, match="data.root is not set; data.kind=folder is your own set"):
        _ = SegmentationData(kind="folder").folder


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "vok"}, "unknown kind 'vok'; did you mean 'voc'"),
        ({"crop": 0}, "crop must be at least 1, got 0"),
        ({"short_side": 0}, "short_side must be at least 1"),
        ({"scale": (2.0, 0.5)}, r"scale must be two ascending factors above 0, got \[2.0, 0.5\]"),
        ({"scale": (0.0, 0.5)}, "scale must be two"),
    ],
)
def test_wrong_options(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SegmentationData(**wrong)


def test_splits_are_joined(write_devkit: LabelWriter):
    write_devkit({"a": [[0, 1]]}, "train")
    root = write_devkit({"b": [[2]], "c": [[3]]}, "val")
    dataset = open_set(SegmentationData(root=str(root)), "2012:train+2012:val")
    assert [dataset.image_id(index) for index in range(len(dataset))] == ["a", "b", "c"]
    assert dataset.load_labels(2).tolist() == [[3]]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_whole_set_is_checked(write_folders: LabelWriter, workers: int):
    root = write_folders({"a": [[0, 1]], "b": [[1, 1]], "c": [[0, 0]]})
    dataset = open_set(SegmentationData(kind="folder", root=str(root)), "all")
    check_set(dataset, workers)
    save(root / "images" / "b.jpg", np.zeros((2, 2, 3)))
    save(root / "masks" / "c.png", [[0, 7]])
    message = (
        r"b\.jpg: the picture is 2x2 \(height x width\), its label map 1x2; .*\n2 of 3 label maps cannot"
    )
    with pytest.raises(UserError, match=message):
        check_set(dataset, workers)
