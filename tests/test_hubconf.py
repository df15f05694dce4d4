"""torch.hub finds our networks in a checkout, and loads them strictly."""

import importlib.util
from pathlib import Path

import pytest
import torch

from backbones import IMAGENET_INPUT, WeightsError, WeightsHeader, create_model, list_models, save_weights

ROOT = Path(__file__).resolve().parents[1]


def load(name: str, *arguments: object, **options: object) -> torch.nn.Module:
    return torch.hub.load(str(ROOT), name, *arguments, source="local", **options)


def test_every_name_is_an_entry_point():
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # torch.hub.list offers every callable whose name begins with a letter.
    offered = {name for name, value in vars(module).items() if callable(value) and name[0] != "_"}
    assert offered == {"create_backbone", *list_models()}
    assert set(module.dependencies) == {"torch", "torchvision", "safetensors"}
    assert module.resnet50.__doc__ == create_model.__doc__


def test_classifiers_with_options_and_weights(tmp_path):
    network = create_model("resnet18", num_classes=3, shortcut="C")
    file = tmp_path / "r18.safetensors"
    save_weights(file, network.state_dict(), WeightsHeader("resnet18", network.options, IMAGENET_INPUT))
    loaded = load("resnet18", weights=file, num_classes=3, shortcut="C")
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    with pytest.raises(WeightsError, match="is for 3 classes, the network for 1000; give num_classes=3"):
        load("resnet18", weights=file, shortcut="C")
    with pytest.raises(WeightsError, match="is of resnet18, not of plain18"):
        load("plain18", weights=file)


def test_features():
    features = load("create_backbone", "resnet20_cifar", out_features=("res2", "res4"))
    assert list(features(torch.zeros(1, 3, 32, 32))) == ["res2", "res4"]
