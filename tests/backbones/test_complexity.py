"""Parameters and multiply-adds, pinned to the paper's Tables 1 and 6 and to their exact integers."""

import pytest
import torch
import torchvision
from torch import nn

from backbones import create_backbone, create_model
from backbones.complexity import LayerRow, count_parameters, layer_table, multiply_adds


@pytest.mark.parametrize(
    ("name", "options", "exact", "printed"),
    [
        ("plain18", {}, 1_794_805_760, 1.8),
        ("resnet18", {"shortcut": "A"}, 1_794_805_760, 1.8),
        ("resnet18", {}, 1_814_073_344, 1.8),
        ("plain34", {}, 3_644_493_824, 3.6),
        ("resnet34", {"shortcut": "A"}, 3_644_493_824, 3.6),
        ("resnet34", {}, 3_663_761_408, 3.6),
        ("resnet50", {"stride_on": "1x1"}, 3_857_973_248, 3.8),
        ("resnet101", {"stride_on": "1x1"}, 7_570_194_432, 7.6),
        ("resnet152", {"stride_on": "1x1"}, 11_282_415_616, 11.3),
    ],
)
def test_table_1(name, options, exact, printed):
    with torch.device("meta"):
        count = multiply_adds(create_model(name, **options), 224)
    assert count == exact
    # The paper rounds some rows, cuts others (50 layers: 3.858 printed as 3.8): one unit of the last digit.
    assert abs(count / 1e9 - printed) < 0.1


@pytest.mark.parametrize(
    ("depth", "exact", "printed", "unit"),
    [
        (20, 269_722, 0.27, 0.01),
        (32, 464_154, 0.46, 0.01),
        (44, 658_586, 0.66, 0.01),
        (56, 853_018, 0.85, 0.01),
        (110, 1_727_962, 1.7, 0.1),
        (1202, 19_421_274, 19.4, 0.1),
    ],
)
def test_table_6(depth, exact, printed, unit):
    with torch.device("meta"):
        residual, plain = create_model(f"resnet{depth}_cifar"), create_model(f"plain{depth}_cifar")
    assert count_parameters(residual) == count_parameters(plain) == exact
    assert abs(exact / 1e6 - printed) < unit / 2


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_parameters_equal_torchvisions_published_numbers(depth):
    weights = getattr(torchvision.models, f"ResNet{depth}_Weights").IMAGENET1K_V1
    with torch.device("meta"):
        network = create_model(f"resnet{depth}")
    assert count_parameters(network) == weights.meta["num_params"]
    assert multiply_adds(network, 224) / 1e9 == pytest.approx(weights.meta["_ops"], abs=5e-4)


def test_layer_by_hand():
    # 3x3 convolution, 4 → 6 channels in 2 groups, 8 → 4 pixels: 6*4*4 outputs of 2*9 products each = 1,728.
    # Linear 96 → 5: 480. Batch normalisation counts its 12 parameters and no operations.
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1, bias=False),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(96, 5),
    )
    assert layer_table(network, 8) == [
        LayerRow("0", "Conv2d", (4, 8, 8), 12, 12 * 64),
        LayerRow("1", "Conv2d", (6, 4, 4), 6 * 18 + 6, 1728),
        LayerRow("4", "Linear", (5,), 485, 480),
    ]
    assert count_parameters(network) == 12 + 114 + 12 + 485


def test_counting_changes_nothing():
    network = create_backbone("resnet18", out_features=("res5",), frozen_stages=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert multiply_adds(network, 32) > 0
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
