"""Data sets whose folders are not those that the network was trained on."""

import shutil

import pytest
import torch

from backbones import IMAGENET_INPUT, WeightsHeader
from classification.config import DataConfig
from classification.data.validation import open_validation
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
