import shutil

import pytest

from classification.data import shapes_folders as shapes
from classification.data.cifar10 import Cifar10
from classification.config import DataConfig
from classification.data.datasets import open_split
from classification.data.picture_files import FolderPictures
from foundation.errors import UserError


@pytest.fixture
def data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "sets"))
    return tmp_path / "sets"


def test_folders_lie_under_data_root(folder_root, data_root):
    shutil.copytree(folder_root, data_root / "imagenet")
    config = DataConfig(kind="folder")
    training, validation = (open_split(config, training=flag) for flag in (True, False))
    assert (len(training), len(validation)) == (12, 6)
    assert (training.training, validation.training) == (True, False)
    assert validation.reader.name(0) == str(data_root / "imagenet/val/ape/0.png")


def test_root_and_splits_of_the_configuration_come_first(folder_root, data_root):
    config = DataConfig(kind="folder", root=str(folder_root), train_split="val", val_split="train")
    assert len(open_split(config, training=True)) == 6
    assert len(open_split(config, training=False)) == 12


def test_cifar_takes_its_splits(cifar_root, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(cifar_root.parent))
    config = DataConfig(kind="cifar10", train_split="train45k", val_split="val5k")
    validation = open_split(config, training=False)
    assert isinstance(validation, Cifar10)
    assert (len(validation), validation.training, validation.train_split) == (5_000, False, "train45k")
    training = open_split(config, training=True)
    assert (len(training), training.training) == (45_000, True)
    assert training.input_spec == validation.input_spec


def test_shapes_are_generated_where_they_are_missing(data_root, monkeypatch):
    monkeypatch.setattr(shapes, "PICTURES_PER_CLASS", {"train": 1, "val": 1})
    pictures = open_split(DataConfig(kind="shapes", image_size=64, resize=64), training=False)
    assert isinstance(pictures, FolderPictures)
    assert len(pictures) == 10
    assert (data_root / "shapes" / "imagenet" / "train").is_dir()


@pytest.mark.parametrize(
    ("kind", "split", "place"),
    [("folder", "val", "imagenet/val"), ("cifar10", "test", "cifar-10-batches-py/test_batch")],
)
def test_missing_data_says_where_it_looked(data_root, kind, split, place):
    with pytest.raises(UserError) as caught:
        open_split(DataConfig(kind=kind, val_split=split), training=False)
    assert str(data_root / place) in str(caught.value)
    assert "DATA_ROOT" in str(caught.value)
