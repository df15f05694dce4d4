"""Data sets whose folders are not those that the network was trained on."""

import shutil

import pytest
import torch

from backbones import IMAGENET_INPUT, WeightsHeader
from classification.data import shapes_folders as shapes
from classification.data.cifar10 import Cifar10
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from classification.data.opened_splits import open_split, open_validation
from foundation.errors import UserError
from training.loader import Item

NAMES = [f"n{number:08d}" for number in range(12)]


def header(names):
    return WeightsHeader("resnet18", {}, IMAGENET_INPUT, classes=names)


@pytest.fixture
def open_folders(folder_root):
    """A split with one picture in each of these class folders, as a network of these classes sees it."""

    def call(folders, known=NAMES):
        for number, name in enumerate(folders):
            (folder_root / "v2" / name).mkdir(parents=True)
            picture = folder_root / "val" / ("ape", "bee", "cow")[number % 3] / "0.png"
            shutil.copy(picture, folder_root / "v2" / name / f"{name}.png")
        config = DataConfig(kind="folder", root=str(folder_root), val_split="v2", image_size=16, resize=20)
        return open_validation("w.safetensors", header(list(known)), config)

    return call


def test_folders_named_by_number_are_in_order_of_number(open_folders):
    pictures = open_folders([str(number) for number in range(12)])
    assert pictures.classes == NAMES
    batch = pictures.read([Item(index, 0) for index in range(12)])
    # As text 10 and 11 come before 2: each picture is named after its folder.
    assert [name.split("/")[-1] for name in batch.ids][:4] == ["0.png", "1.png", "10.png", "11.png"]
    assert batch.labels.tolist() == [int(name.split("/")[-1][:-4]) for name in batch.ids]


@pytest.mark.parametrize(
    "folders", [range(1, 13), range(11), range(13), [*range(11), 0, 20]], ids=["from 1", "11", "13", "gap"]
)
def test_other_numbers_are_refused(open_folders, folders):
    folders = sorted({str(number) for number in folders}, key=int)
    with pytest.raises(
        UserError, match=r"named by number, .* knows 12 classes, so expected 0 to 11, each once"
    ):
        open_folders(folders)


def test_a_network_of_classes_that_are_numbers_keeps_their_order_as_text(open_folders):
    names = sorted(str(number) for number in range(12))
    pictures = open_folders(names, known=names)
    assert pictures.classes == names and pictures.labels.tolist() == list(range(12))


def test_named_folders_must_be_the_networks(open_folders):
    with pytest.raises(UserError, match="knows 12 classes, the data has 2, the first that differ are"):
        open_folders(["cat", "dog"])


def test_a_flat_folder_has_pictures_without_labels(folder_root):
    (folder_root / "test").mkdir()
    for number in (2, 1):
        shutil.copy(folder_root / "val" / "ape" / "0.png", folder_root / "test" / f"{number}.png")
    config = DataConfig(kind="folder", root=str(folder_root), val_split="test", image_size=16, resize=20)
    pictures = open_validation("w.safetensors", header(NAMES), config)
    batch = pictures.read([Item(0, 0), Item(1, 0)])
    assert [name.split("/")[-1] for name in batch.ids] == ["1.png", "2.png"]
    assert batch.labels.tolist() == [-1, -1] and pictures.classes == NAMES
    assert torch.equal(pictures.prepare(batch), IMAGENET_INPUT.normalise(batch.images))


def test_no_folder_says_where_it_looked(folder_root):
    config = DataConfig(kind="folder", root=str(folder_root), val_split="absent")
    with pytest.raises(UserError, match=r"no folder .*absent; expected one folder of pictures per class"):
        open_validation("w.safetensors", header(NAMES), config)


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
    assert isinstance(pictures, EncodedPictures)
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
