"""Names of the networks that are analysed."""

from pathlib import Path

import pytest

from backbones import IMAGENET_INPUT, WeightsHeader
from foundation.errors import UserError
from reproduction.analyses.analyzed_networks import name_networks


def headers(*models: str) -> list[WeightsHeader]:
    return [WeightsHeader(model, {}, IMAGENET_INPUT) for model in models]


def test_networks_of_one_model_are_told_apart_by_as_much_of_their_paths_as_it_takes():
    files = [Path("a/run/last.safetensors"), Path("b/run/last.safetensors"), Path("a/other.safetensors")]
    assert name_networks(files, headers("resnet20_cifar", "resnet20_cifar", "resnet56_cifar")) == [
        *("resnet20_cifar (a/run/last)", "resnet20_cifar (b/run/last)", "resnet56_cifar")
    ]
    with pytest.raises(UserError, match=r"names a/run/last\.safetensors twice; give each file once"):
        name_networks([files[0]] * 2, headers("resnet20_cifar", "resnet20_cifar"))
