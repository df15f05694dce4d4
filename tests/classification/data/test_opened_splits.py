"""Data sets whose folders are not those that the network was trained on."""

import shutil
import sys

import pytest
import torch
from torchvision.models import ResNet50_Weights

from backbones import IMAGENET_INPUT, WeightsHeader
from classification.data import shapes_folders as shapes
from classification.data.cifar10 import Cifar10
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from classification.data.opened_splits import class_names, open_split, open_validation
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


def test_names_of_classes():
    published = WeightsHeader("resnet50", {"num_classes": 1000}, IMAGENET_INPUT, dataset="ImageNet")
    names = class_names(published)
    assert (len(names), names[0], names[999]) == (1000, "tench", "toilet tissue")
    assert class_names(WeightsHeader("resnet50", {"num_classes": 2}, IMAGENET_INPUT)) == ["0", "1"]
    assert class_names(WeightsHeader("resnet50", {}, IMAGENET_INPUT, classes=["a"])) == ["a"]


def nameless(outputs):
    return WeightsHeader("resnet18", {"num_classes": outputs}, IMAGENET_INPUT)


def outputs_of_folders(folder_root, folders, outputs):
    """The labels and classes that a network without class names sees in folders of one picture each."""
    for name in folders:
        (folder_root / "v3" / name).mkdir(parents=True)
        shutil.copy(folder_root / "val" / "ape" / "0.png", folder_root / "v3" / name)
    config = DataConfig(kind="folder", root=str(folder_root), val_split="v3", image_size=16, resize=20)
    pictures = open_validation("w.safetensors", nameless(outputs), config)
    return pictures.labels.tolist(), pictures.classes


def test_a_network_without_class_names_takes_the_folders_in_order(folder_root, caplog):
    with caplog.at_level("INFO"):
        found = outputs_of_folders(folder_root, ["dog", "cat", "eel"], 3)
    assert found == ([0, 1, 2], ["cat", "dog", "eel"])
    assert (
        "names no classes: those of the data are its outputs, in their order, from 'cat' to 'eel'"
        in caplog.text
    )


def test_numbered_folders_keep_their_numbers_without_class_names(folder_root):
    numbers = [str(number) for number in range(11)]
    # In order of name: 0, 1, 10, 2, 3, …
    assert outputs_of_folders(folder_root, numbers, 11) == ([0, 1, 10, *range(2, 10)], numbers)


@pytest.mark.parametrize("folders", [["cat", "dog"], ["n01440764", "n01443537"], ["0", "1"]])
def test_another_number_of_folders_is_refused(folder_root, folders):
    with pytest.raises(
        UserError, match="w.safetensors has 3 outputs, the data 2 classes, and nothing says which"
    ):
        outputs_of_folders(folder_root, folders, 3)


def test_a_part_of_imagenet_belongs_to_outputs_by_name(folder_root, caplog):
    pytest.importorskip("timm")
    # tench, English springer and parachute, as torchvision numbers ImageNet's classes.
    with caplog.at_level("INFO"):
        labels, classes = outputs_of_folders(folder_root, ["n03888257", "n01440764", "n02102040"], 1000)
    assert labels == [0, 217, 701]
    assert len(classes) == 1000 and classes[217] == "n02102040" and classes == sorted(classes)
    categories = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    assert [categories[label] for label in labels] == ["tench", "English springer", "parachute"]
    assert "in ImageNet's order; 997 outputs are of no class here" in caplog.text


@pytest.mark.parametrize("folders", [["n01440764", "n99999999"], ["n01440764", "tench"]])
def test_folders_that_are_not_all_imagenets_are_refused(folder_root, folders):
    pytest.importorskip("timm")
    with pytest.raises(UserError, match="has 1000 outputs, the data 2 classes, and nothing says which"):
        outputs_of_folders(folder_root, folders, 1000)


def test_a_part_of_imagenet_needs_timm(folder_root, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.data", None)
    with pytest.raises(
        UserError, match=r"timm's list of all of them .*pip install 'residual-backbones\[timm\]'"
    ):
        outputs_of_folders(folder_root, ["n01440764"], 1000)


def test_a_flat_folder_is_seen_by_a_network_without_class_names(folder_root):
    (folder_root / "test").mkdir()
    shutil.copy(folder_root / "val" / "ape" / "0.png", folder_root / "test" / "1.png")
    config = DataConfig(kind="folder", root=str(folder_root), val_split="test", image_size=16, resize=20)
    pictures = open_validation("w.safetensors", nameless(3), config)
    assert (pictures.labels.tolist(), pictures.classes) == ([-1], ["0", "1", "2"])


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
