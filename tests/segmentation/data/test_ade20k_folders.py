from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from segmentation.data.ade20k_folders import open_ade20k
from segmentation.types import IGNORED
from tests.segmentation.conftest import save


@pytest.fixture
def ade(tmp_path: Path) -> Path:
    """Two pictures of two classes."""
    for name in ("ADE_train_1", "ADE_train_2"):
        save(tmp_path / "images" / "training" / f"{name}.jpg", np.zeros((1, 3, 3)))
        save(tmp_path / "annotations" / "training" / f"{name}.png", [[0, 1, 2]])
    rows = "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1\t2\t3\t1\twall\n2\t0.1\t2\t3\t1\tbuilding, edifice\n"
    (tmp_path / "objectInfo150.txt").write_text(rows)
    return tmp_path


def test_index_zero_is_ignored_and_one_is_the_first_class(ade: Path):
    dataset = open_ade20k(ade, "training")
    assert dataset.classes == ["wall", "building"] and len(dataset) == 2
    assert dataset.load_labels(1).tolist() == [[IGNORED, 0, 1]]
    save(ade / "annotations" / "training" / "ADE_train_1.png", [[3, 1, 2]])
    with pytest.raises(UserError, match="the index 3 at row 0, column 0, expected 1 to 2"):
        dataset.load_labels(0)


def test_a_list_of_classes_of_ones_own(ade: Path):
    (ade / "classes.txt").write_text("sky\nsea\n")
    assert open_ade20k(ade, "training").classes == ["sky", "sea"]
    (ade / "classes.txt").unlink()
    (ade / "objectInfo150.txt").unlink()
    with pytest.raises(UserError, match=r"objectInfo150\.txt: no such file; .* or write classes\.txt"):
        open_ade20k(ade, "training")


def test_a_split_without_annotations_has_no_truth(ade: Path):
    save(ade / "images" / "testing" / "1.jpg", np.zeros((2, 2, 3)))
    assert not open_ade20k(ade, "testing").has_truth
    with pytest.raises(
        UserError, match="no such folder; expected ADE20K's pictures there: get ADEChallengeData2016"
    ):
        open_ade20k(ade, "validation")


def test_the_whole_ade20k_is_another_layout(real_data: Path):
    with pytest.raises(UserError, match=r"1_seg\.png: this is the layout of the whole ADE20K"):
        open_ade20k(real_data / "exports" / "ade20k2017_dataset" / "dataset", "training")
