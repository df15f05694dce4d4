"""Adding a network takes its module and a line of the table in families.py: everything else follows."""

import copy

import pytest
import torch
from torch import Tensor, nn

from backbones import (
    FeatureSpec,
    WeightsHeader,
    create_backbone,
    create_model,
    create_trunk_and_head,
    list_models,
    load_network,
    save_weights,
)
from backbones.complexity import layer_table, multiply_adds
from backbones.convert import convert
from backbones.families import FAMILIES, Family
from backbones.networks.blocks import PlainBlock, initialise
from backbones.spec import describe


class Tiny(nn.Module):
    """What a family's module holds: two stages of one plain block behind a stem, depth 6."""

    stages = {"stem": ("conv1", "bn1", "relu"), "res2": ("layer1",), "res3": ("layer2",)}
    last_layer = "fc"
    folds = (("conv1", "bn1"),)

    def __init__(self, depth: int, *, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(PlainBlock(4, 4, 1))
        self.layer2 = nn.Sequential(PlainBlock(4, 8, 2))
        self.fc = nn.Linear(8, num_classes)
        initialise(self, zero_init_residual=False)
        describe(self, f"tiny{depth}", channels=(4, 4, 8), strides=(1, 1, 2), num_classes=num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    torch.manual_seed(0)
    family = Family(Tiny, {"tiny6": {"depth": 6}}, num_classes=5, image_size=32)
    monkeypatch.setitem(FAMILIES, "tiny", family)


def test_it_is_built_cut_and_counted():
    assert list_models("tiny*") == ["tiny6"]
    images = torch.randn(2, 3, 32, 32)
    assert create_model("tiny6")(images).shape == (2, 5)
    features = create_backbone("tiny6", out_features=("res2", "res3"), frozen_stages=1, norm="frozen")
    assert {name: tuple(x.shape) for name, x in features(images).items()} == {
        "res2": (2, 4, 32, 32),
        "res3": (2, 8, 16, 16),
    }
    trunk, head = create_trunk_and_head("tiny6")
    assert list(trunk.feature_specs) == ["res2"] and head.feature_specs == {"res3": FeatureSpec(8, 2)}
    assert head(trunk(images)["res2"]).shape == (2, 8, 16, 16)
    network = create_model("tiny6", num_classes=7)
    names = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1", "layer2.0.conv2", "fc"]
    assert [row.name for row in layer_table(network, 8)] == names
    # 9 taps, 8x8 pixels: 3·4 + 4·4 + 4·4 channels; 4x4 pixels: 4·8 + 8·8; then 8·7.
    assert multiply_adds(network, 8) == 9 * (64 * 44 + 16 * 96) + 56


def test_its_weights_are_saved_loaded_and_recognised(tmp_path):
    network = create_model("tiny6", num_classes=7)
    path = tmp_path / "tiny.safetensors"
    save_weights(path, network.state_dict(), WeightsHeader(network.name, network.options, network.input_spec))
    again = load_network(path)
    assert all(torch.equal(again.state_dict()[name], value) for name, value in network.state_dict().items())
    torch.save(network.state_dict(), tmp_path / "tiny.pth")
    target = tmp_path / "again.safetensors"
    found = convert(tmp_path / "tiny.pth", target, source_format="ours", source_input="imagenet")
    assert found.header.model == "tiny6" and found.header.options == {"num_classes": 7}


def test_timm_finds_it(monkeypatch):
    timm = pytest.importorskip("timm")
    from timm.models import _registry

    from backbones.adapters import timm as adapter

    for name, value in [*vars(_registry).items()]:  # what is registered here is forgotten behind the test
        if isinstance(value, dict | set) and not name.startswith("__"):
            monkeypatch.setattr(_registry, name, copy.deepcopy(value))
    monkeypatch.setattr(adapter, "default_cfgs", dict(adapter.default_cfgs))
    adapter.register_networks()
    network = timm.create_model("rb_tiny6", num_classes=3).eval()
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 3)
    assert network.pretrained_cfg["input_size"] == (3, 32, 32)
    features = timm.create_model("rb_tiny6", features_only=True, out_indices=(2,))
    assert [x.shape[1] for x in features(torch.randn(1, 3, 32, 32))] == [8]
