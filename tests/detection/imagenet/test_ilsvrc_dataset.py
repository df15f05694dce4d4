"""The opened sets, through a configuration as every command opens them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detection.data.dataset_splits import DataConfig, open_dataset
from detection.imagenet.ilsvrc_dataset import IlsvrcDataset
from foundation.errors import UserError


def opened(kind: str, root: Path, split: str, **options: int) -> IlsvrcDataset:
    dataset = open_dataset(DataConfig(kind=kind, root=str(root), **options), split)  # type: ignore[arg-type]
    assert isinstance(dataset, IlsvrcDataset)
    return dataset


def test_det_with_joined_splits(det: Path):
    dataset = opened("imagenet_det", det, "train+val1")
    assert dataset.image_ids == ["a/1", "a/2", "a/3", "v3", "v1"] and len(dataset) == 5
    assert (dataset.classes, dataset.category_ids) == (["cat", "dog house"], [1, 2])
    assert dataset.void_pairs == {(3, 2)}
    assert dataset.targets[3].ignore.tolist() == [True, False]
    assert dataset.load_target(1).labels.tolist() == [1, 2]
    assert dataset.load_target(1).boxes.tolist() == [[0, 0, 2, 2], [2, 2, 6, 4]]
    assert dataset.image_path(4) == det / "Data/DET/val/v1.JPEG"
    assert dataset.image_sizes == [(4, 6)] * 5 and dataset.has_truth
    assert dataset.image_labels == [] and dataset.left_out == set()


def test_the_fingerprint_tells_the_blacklist(det: Path, write: Callable):
    before = opened("imagenet_det", det, "val").fingerprint()
    assert opened("imagenet_det", det, "val").fingerprint() == before
    write(det, "devkit/data/ILSVRC2015_det_validation_blacklist.txt", "2 n02\n")
    assert opened("imagenet_det", det, "val").fingerprint() != before


def test_pictures_per_class(det: Path):
    dataset = opened("imagenet_det", det, "train", train_per_class=1, split_seed=3)
    assert 1 <= len(dataset) <= 2  # one of each class, perhaps the same
    with pytest.raises(ValueError, match="train_per_class is for kind=imagenet_det.* got kind=imagenet_loc"):
        DataConfig(kind="imagenet_loc", train_per_class=1)
    with pytest.raises(ValueError, match="train_per_class must be at least 1, got 0"):
        DataConfig(kind="imagenet_det", train_per_class=0)


def test_cls_loc(loc: Path):
    dataset = opened("imagenet_loc", loc, "val")
    assert (dataset.classes, dataset.category_ids) == (["n01", "n02"], [2, 1])
    assert (dataset.image_ids, dataset.image_labels) == (["v2", "v1", "v3"], [1, 2, 2])
    assert dataset.left_out == {0} and dataset.void_pairs == set()
    assert [target.labels.tolist() for target in dataset.targets] == [[1], [2], [2]]
    assert not any(target.ignore.any() for target in dataset.targets)
    assert opened("imagenet_loc", loc, "train+val").image_labels == [2, 1, 1, 2, 2]


@pytest.mark.parametrize("task", ["det", "loc"])
def test_the_truth_of_test_is_secret(task: str, request: pytest.FixtureRequest):
    dataset = opened(f"imagenet_{task}", request.getfixturevalue(task), "test")
    assert not dataset.has_truth and dataset.image_labels == []
    assert len(dataset.load_target(0).boxes) == 0 and dataset.image_sizes == [(4, 6)]


def test_faults_are_refused(det: Path, loc: Path, add: Callable, write: Callable):
    for lost in ("v1", "v3"):
        (det / f"Data/DET/val/{lost}.JPEG").unlink()
    text = r"val.txt lists 2 pictures that are not there, first .*v1.JPEG; unpack the whole archive of DET"
    with pytest.raises(UserError, match=text):
        opened("imagenet_det", det, "val")
    add(loc, "CLS-LOC/val", "v1", [("n01", (0, 0, 2, 2))])
    with pytest.raises(UserError, match=r"val/v1.xml: object 1: is n01, but the picture is of class n02"):
        opened("imagenet_loc", loc, "val")
    write(loc, "devkit/data/map_clsloc.txt", "n02 1 cat\nn01 1 dog\n")
    with pytest.raises(UserError, match=r"map_clsloc.txt, line 2: number 1 is already that of n02"):
        opened("imagenet_loc", loc, "val")
    with pytest.raises(UserError, match="picture a/1 is listed a second time"):
        opened("imagenet_det", det, "train+train")


def test_there_are_no_masks(det: Path):
    with pytest.raises(
        UserError, match="masks are wanted of an ImageNet data set, whose annotations are boxes"
    ):
        open_dataset(DataConfig(kind="imagenet_det", root=str(det)), "val", masks=True)
