"""The network of a pretraining run: classes from the data, weights from elsewhere."""

from types import SimpleNamespace

import pytest
import torch

from backbones import IMAGENET_INPUT, InputSpec, WeightsHeader, create_model, save_weights
from classification.config import ModelConfig
from classification.pretrain import build_classifier
from foundation.errors import UserError

GREY = InputSpec(mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0))


def pictures(classes: int, spec: InputSpec = IMAGENET_INPUT) -> SimpleNamespace:
    return SimpleNamespace(classes=[f"class {k}" for k in range(classes)], input_spec=spec)


@pytest.fixture
def weights(tmp_path) -> str:
    """Of a ResNet-8 for 5 classes."""
    network = create_model("resnet8_cifar", num_classes=5)
    save_weights(
        tmp_path / "five.safetensors",
        network.state_dict(),
        WeightsHeader(network.name, network.options, IMAGENET_INPUT),
    )
    return str(tmp_path / "five.safetensors")


def test_classes_and_pictures_come_from_the_data():
    model = build_classifier(ModelConfig("resnet8_cifar"), pictures(3, GREY))
    assert model.fc.out_features == 3 and model.input_spec == GREY


@pytest.mark.parametrize("classes", [5, 3])
def test_weights_of_other_classes_start_all_but_the_classifier(weights: str, classes: int, caplog):
    caplog.set_level("INFO")
    theirs = create_model("resnet8_cifar", num_classes=5, weights=weights).state_dict()
    model = build_classifier(ModelConfig("resnet8_cifar", weights=weights), pictures(classes))
    assert torch.equal(model.state_dict()["layer3.0.conv2.weight"], theirs["layer3.0.conv2.weight"])
    assert model.fc.out_features == model.options["num_classes"] == classes
    assert (model.fc.weight.shape[0] == 5 and torch.equal(model.fc.weight, theirs["fc.weight"])) == (
        classes == 5
    )
    assert ("the classifier starts anew" in caplog.text) == (classes == 3)


def test_weights_for_other_pictures_are_refused(weights: str):
    with pytest.raises(UserError, match="was trained on pictures as InputSpec"):
        build_classifier(ModelConfig("resnet8_cifar", weights=weights), pictures(5, GREY))


def test_dilation_pooling_and_norm_reach_the_network():
    config = ModelConfig("resnet18", dilation=("res5",), norm="sync", stem_pool="ceil")
    model = build_classifier(config, pictures(3))
    assert model.feature_specs["res5"].stride == 16 and model.options["dilation"] == ["res5"]
    assert model.maxpool.ceil_mode and model.maxpool.padding == 0
    assert type(model.bn1) is torch.nn.SyncBatchNorm
