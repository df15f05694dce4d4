"""Parameters and multiply-adds, pinned to the paper's Tables 1 and 6 and to their exact integers."""

import pytest
import torch
import torchvision
from torch import nn

from backbones import create_backbone, create_model, list_models
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


# Parameters and multiply-adds of every listed network with its default options, and the parameters in
# millions that the papers print: He et al. 2015, Table 6; for highway networks Srivastava et al. 2015 (of the
# 32 layers the widths are ours); He et al. 2016, Table 4, which leaves out normalisation.
TABLE = {
    "plain18": (11_515_688, 1_794_805_760),
    "plain34": (21_623_848, 3_644_493_824),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "resnext101_32x8d": (88_791_336, 16_414_015_488),
    "wide_resnet50_2": (68_883_240, 11_398_021_120),
    "wide_resnet101_2": (126_886_696, 22_753_050_624),
    "preact_resnet18": (11_687_720, 1_814_073_344),
    "preact_resnet34": (21_795_880, 3_663_761_408),
    "preact_resnet50": (25_549_352, 4_089_184_256),
    "preact_resnet101": (44_541_480, 7_801_405_440),
    "preact_resnet152": (60_185_128, 11_513_626_624),
    "preact_resnet200": (64_666_152, 15_007_481_856),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "plain20_cifar": (269_722, 40_551_040),
    "plain32_cifar": (464_154, 68_862_592),
    "plain44_cifar": (658_586, 97_174_144),
    "plain56_cifar": (853_018, 125_485_696),
    "plain110_cifar": (1_727_962, 252_887_680),
    "plain1202_cifar": (19_421_274, 2_829_238_912),
    "resnet20_cifar": (269_722, 40_551_040),
    "resnet32_cifar": (464_154, 68_862_592),
    "resnet44_cifar": (658_586, 97_174_144),
    "resnet56_cifar": (853_018, 125_485_696),
    "resnet110_cifar": (1_727_962, 252_887_680),
    "resnet1202_cifar": (19_421_274, 2_829_238_912),
    "preact_resnet110_cifar": (1_727_962, 252_887_680),
    "preact_resnet164_cifar": (1_703_258, 247_646_720),
    "preact_resnet1001_cifar": (10_327_706, 1_490_995_712),
    "highway19_cifar": (2_256_838, 330_826_728),
    "highway32_cifar": (1_238_422, 220_650_472),
}
PRINTED = {  # millions, and the unit of the last digit
    "resnet20_cifar": (0.27, 0.01),
    "resnet32_cifar": (0.46, 0.01),
    "resnet44_cifar": (0.66, 0.01),
    "resnet56_cifar": (0.85, 0.01),
    "resnet110_cifar": (1.7, 0.1),
    "resnet1202_cifar": (19.4, 0.1),
    "preact_resnet110_cifar": (1.7, 0.1),
    "preact_resnet164_cifar": (1.7, 0.1),
    "preact_resnet1001_cifar": (10.2, 0.1),
    "highway19_cifar": (2.3, 0.1),
    "highway32_cifar": (1.25, 0.03),
}


def test_the_table_names_every_network():
    assert list(TABLE) == list_models()


@pytest.mark.parametrize("name", TABLE)
def test_parameters_and_multiply_adds(name):
    with torch.device("meta"):
        network = create_model(name)
    assert (count_parameters(network), multiply_adds(network, 32 if "cifar" in name else 224)) == TABLE[name]
    if name in PRINTED:
        printed, unit = PRINTED[name]
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        left_out = sum(map(count_parameters, norms)) if name.startswith("preact") else 0
        assert abs((TABLE[name][0] - left_out) / 1e6 - printed) <= unit / 2


def test_vgg_in_table_1():
    # The paper prints 15.3e9 for VGG-16, its convolutions alone, and 19.6e9 for VGG-19, all of it.
    with torch.device("meta"):
        rows = layer_table(create_model("vgg16"), 224)
    assert sum(row.multiply_adds for row in rows if row.kind == "Conv2d") == 15_346_630_656
    assert TABLE["vgg19"][1] / 1e9 == pytest.approx(19.6, abs=0.05)


@pytest.mark.parametrize(
    "name", [name for name in TABLE if "cifar" not in name and not name.startswith(("plain", "preact"))]
)
def test_the_table_has_torchvisions_published_numbers(name):
    meta = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].meta
    assert TABLE[name][0] == meta["num_params"]
    assert TABLE[name][1] / 1e9 == pytest.approx(meta["_ops"], abs=5e-4)


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
    network.layer2.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert multiply_adds(network, 32) > 0
    assert network.training and network.layer1[0].bn1.training and not network.layer2[0].bn1.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
