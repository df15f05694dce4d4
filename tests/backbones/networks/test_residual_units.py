"""Variants of the residual unit: each formula of He et al. 2016 written out, parameters counted by hand."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from backbones import OptionError, create_backbone, create_model, load_network, save_weights
from backbones.complexity import count_parameters
from backbones.lesion import find_blocks, without_blocks
from backbones.networks.residual_units import ResidualUnit, Unit
from backbones.norm import fold_batchnorm
from backbones.weights.weights_header import WeightsHeader

UNITS = [unit for unit in get_args(Unit) if unit != "original"]
NORMED_SUM = "bn_after_addition"


def make(unit: str, *arguments: int, **options) -> ResidualUnit:
    torch.manual_seed(0)
    block = ResidualUnit(*(arguments or (8, 8, 1)), unit=unit, **{"shortcut": "A", **options})
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.5)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return block.eval()


def by_hand(block: ResidualUnit, x: Tensor) -> Tensor:
    """Figures 2 and 4 for a basic block with an identity shortcut."""
    conv1, bn1, conv2, bn2, relu = block.conv1, block.bn1, block.conv2, block.bn2, torch.relu
    if block.unit == "relu_only_preactivation":  # 4(d): ReLU, weight, BN, ReLU, weight, BN, addition
        return x + bn2(conv2(relu(bn1(conv1(relu(x))))))
    middle = conv2(relu(bn1(conv1(x))))
    if block.unit == "bn_after_addition":  # 4(b)
        return relu(bn2(x + middle))
    if block.unit == "relu_before_addition":  # 4(c)
        return x + relu(bn2(middle))
    residual = bn2(middle)
    if block.unit == "scaled":  # 2(b)
        return relu(block.scaling[0] * x + block.scaling[1] * residual)
    if block.unit == "dropout_shortcut":  # 2(f), in evaluation
        return relu(x + residual)
    gate = 1 / (1 + torch.exp(-block.gate(x)))  # 2(c), 2(d)
    return relu((1 - gate) * x + (gate if block.unit == "exclusive_gating" else 1) * residual)


@pytest.mark.parametrize("unit", UNITS)
def test_the_formula_written_out(unit: str):
    block, x = make(unit, scaling=(0.3, 0.8), gate_bias=-1.0), torch.randn(2, 8, 6, 6)
    before = x.clone()
    torch.testing.assert_close(block(x), by_hand(block, x))
    assert torch.equal(x, before)


def test_in_training_half_of_the_shortcut_is_dropped():
    block, x = make("dropout_shortcut").train(), torch.full((4, 8, 16, 16), 3.0)
    nn.init.zeros_(block.bn2.weight)
    nn.init.zeros_(block.bn2.bias)
    found = block(x)
    assert set(found.unique().tolist()) == {0.0, 6.0}  # 3 / (1 - 0.5)
    assert (found == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_gate_strides_and_its_bias_starts_as_asked():
    block = make("exclusive_gating", 8, 16, 2, gate_bias=-6.0)
    gate = block.gate
    assert gate is not None and (gate.kernel_size, gate.stride, gate.out_channels) == ((1, 1), (2, 2), 16)
    assert (gate.bias == -6).all()
    x = torch.zeros(1, 8, 7, 7)
    shortcut, residual = block.terms(x)
    assert shortcut.shape == residual.shape == block(x).shape == (1, 16, 4, 4)
    # sigmoid(-6) = 0.00247: the gates let a quarter of a per cent of the residual through.
    ungated = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    torch.testing.assert_close(residual, 0.0024726 * ungated, rtol=1e-4, atol=1e-7)


def test_a_bottleneck_by_hand():
    block = make("relu_only_preactivation", 16, 32, 2, shortcut="B", bottleneck=True, stride_on="1x1")
    x = torch.randn(2, 16, 7, 7)
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    active = x.relu()
    inner = block.bn2(block.conv2(block.bn1(block.conv1(active)).relu())).relu()
    # The projection reads the pre-activation too (appendix), and has its own normalisation.
    torch.testing.assert_close(block(x), block.downsample(active) + block.bn3(block.conv3(inner)))


@pytest.mark.parametrize("bottlenecks", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_parameters_counted_by_hand(unit: str, bottlenecks: bool):
    network = create_model(
        "resnet29_cifar" if bottlenecks else "resnet20_cifar", unit=unit, bottlenecks=bottlenecks
    )
    # ResNet-20 (paper: 0.27 M). Stem 27 · 16 + 32; stages of three blocks, each two 3x3 convolutions and BN:
    # 6 · 9 · 16² + 6 · 32; 9 · 16 · 32 + 5 · 9 · 32² + 6 · 64; 9 · 32 · 64 + 5 · 9 · 64² + 6 · 128; fc 650.
    expected = 464 + 14_016 + 51_072 + 203_520 + 650
    gates = 3 * (16 * 16 + 16) + (16 * 32 + 32) + 2 * (32 * 32 + 32) + (32 * 64 + 64) + 2 * (64 * 64 + 64)
    if bottlenecks:
        # Widths 16, 32, 64 and four times that outside: a block of width w reads c channels with
        # cw + 9w² + 4w² weights and 2 · (w + w + 4w) of BN; each stage's first block projects with 4wc
        # weights and 8w of BN.
        blocks = [
            (16, 16),
            (64, 16),
            (64, 16),
            (64, 32),
            (128, 32),
            (128, 32),
            (128, 64),
            (256, 64),
            (256, 64),
        ]
        expected = 464 + sum(c * w + 13 * w * w + 12 * w for c, w in blocks) + 256 * 10 + 10
        expected += sum(4 * w * c + 8 * w for c, w in blocks[::3])
        gates = sum(c * 4 * w + 4 * w for c, w in blocks)
    assert count_parameters(network) == expected + ("gating" in unit) * gates


@pytest.mark.parametrize("unit", UNITS)
def test_every_parameter_learns(unit: str):
    torch.manual_seed(0)
    network = create_model("resnet20_cifar", unit=unit, gate_bias=-1.0 if "gating" in unit else -6.0)
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_original_unit_is_the_network_of_2015():
    torch.manual_seed(0)
    network = create_model("resnet20_cifar")
    torch.manual_seed(0)
    said = create_model(
        "resnet20_cifar", unit="original", scaling=[0.5, 0.5], gate_bias=-6, bottlenecks=False
    )
    assert list(network.state_dict()) == list(said.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), said.parameters(), strict=True))
    assert (
        network.options == said.options == {"num_classes": 10, "shortcut": "A", "zero_init_residual": False}
    )
    assert {type(block).__name__ for block in network.layer2} == {"BasicBlock"}


def test_bottlenecks_of_2015():
    network = create_model("resnet164_cifar", bottlenecks=True)
    assert [len(stage) for stage in (network.layer1, network.layer2, network.layer3)] == [18, 18, 18]
    # He et al. 2016: 1.7 M, as ResNet-110's.
    assert count_parameters(network) / 1e6 == pytest.approx(1.7, abs=0.05)
    assert network.options["shortcut"] == "B" and network.options["bottlenecks"] is True
    assert network.feature_specs["res4"].channels == 256
    assert len(create_model("resnet164_cifar").layer1) == 27  # without, basic blocks as ever


@pytest.mark.parametrize("bottlenecks", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_weights_come_back_with_the_unit(unit: str, bottlenecks: bool, tmp_path, randomise_norms):
    options = {"scaled": {"scaling": (0.0, 1.0)}, "exclusive_gating": {"gate_bias": 0.0}}.get(unit, {})
    name = "resnet11_cifar" if bottlenecks else "resnet8_cifar"
    network = create_model(name, unit=unit, bottlenecks=bottlenecks, num_classes=3, **options).eval()
    randomise_norms(network)
    assert network.options["unit"] == unit
    file = tmp_path / "weights.safetensors"
    save_weights(
        file, network.state_dict(), WeightsHeader(network.name, network.options, network.input_spec, 1e-5, "")
    )
    loaded = load_network(file).eval()
    assert loaded.options == network.options
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))
        last = load_network(file, out_features=("res4",)).eval()(images)["res4"]
        assert torch.equal(network.fc(last.mean((2, 3))), network(images))
    other = {"unit": "scaled"} if unit != "scaled" else {"unit": "scaled", "scaling": (1.0, 1.0)}
    with pytest.raises(
        ValueError, match=f"was trained with (unit='{unit}'|scaling=.0.0, 1.0.), not .*; give "
    ):
        create_model(name, weights=file, num_classes=3, bottlenecks=bottlenecks, **other)


def test_files_without_a_header_are_of_the_original_unit(tmp_path):
    torch.save(create_model("resnet8_cifar").state_dict(), tmp_path / "theirs.pth")
    with pytest.raises(ValueError, match="no header, so nothing says that it was trained with unit='scaled'"):
        create_model("resnet8_cifar", unit="scaled", weights=tmp_path / "theirs.pth")


@pytest.mark.parametrize("bottlenecks", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_folding_leaves_what_follows_an_addition(
    unit: str, bottlenecks: bool, randomise_norms, relative_difference
):
    torch.manual_seed(0)
    name = "resnet29_cifar" if bottlenecks else "resnet20_cifar"
    network = create_model(name, unit=unit, bottlenecks=bottlenecks).eval()
    randomise_norms(network)
    folded = fold_batchnorm(network)
    left = {name for name, module in folded.named_modules() if isinstance(module, nn.BatchNorm2d)}
    last = "bn3" if bottlenecks else "bn2"
    of_blocks = {f"layer{stage}.{number}.{last}" for stage in (1, 2, 3) for number in (0, 1, 2)}
    assert left == (of_blocks if unit == NORMED_SUM else set())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert relative_difference(folded(images), network(images)) < 1e-5


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
@pytest.mark.parametrize("unit", UNITS)
def test_bypass_is_the_block_with_a_silent_residual(unit: str, shortcut: str, randomise_norms):
    torch.manual_seed(0)
    network = create_model("resnet20_cifar", unit=unit, shortcut=shortcut).eval()
    randomise_norms(network)
    images = torch.randn(2, 3, 32, 32)
    for name in ("res2.0", "res3.0", "res3.1"):
        (path,) = find_blocks(network)[name]
        block = network.get_submodule(path)
        with torch.no_grad(), without_blocks(network, [name]):
            bypassed = network(images)
        last = block.get_submodule(block.silenced_by)
        before = {key: value.clone() for key, value in last.state_dict().items()}
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        with torch.no_grad():
            torch.testing.assert_close(network(images), bypassed)
        last.load_state_dict(before)


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit != NORMED_SUM])
def test_terms_add_up_to_the_block(unit: str):
    block, x = make(unit, 8, 16, 2, shortcut="B"), torch.randn(2, 8, 7, 7)
    total = sum(block.terms(x))
    torch.testing.assert_close(total.relu() if block.activates_sum else total, block(x))


def test_zero_init_starts_at_the_bypass():
    for unit in UNITS:
        if unit == "relu_before_addition":
            continue
        network = create_model("resnet8_cifar", unit=unit, zero_init_residual=True)
        shortcut, residual = network.layer1[0].terms(torch.rand(2, 16, 8, 8))
        assert not residual.any() and shortcut.any(), unit


def test_nothing_but_the_last_relu_follows_relu_only_units():
    network = create_model("resnet8_cifar", unit="relu_only_preactivation").eval()
    trunk = create_backbone("resnet8_cifar", unit="relu_only_preactivation", out_features=("res3", "res4"))
    assert network.stages["res4"] == ("layer3", "relu_last")
    raw, last = trunk.eval()(torch.randn(4, 3, 32, 32)).values()
    assert raw.min() < 0 and last.min() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "scled"}, "^unknown unit 'scled'; did you mean 'scaled'"),
        ({"unit": "full_preactivation"}, "a family of its own: leave out .* and take preact_resnet110_cifar"),
        (
            {"unit": "scaled", "scaling": (1,)},
            r"^scaling must be two numbers, of shortcut and residual, got \(1,\)",
        ),
        ({"unit": "scaled", "scaling": (1, float("nan"))}, "must be two numbers"),
        (
            {"scaling": (0, 1)},
            r"^scaling belongs to unit='scaled', not to 'original'; leave out scaling=\(0, 1\)",
        ),
        (
            {"gate_bias": 0.0},
            "^gate_bias belongs to unit='exclusive_gating' and 'shortcut_only_gating', not to 'o",
        ),
        ({"unit": "exclusive_gating", "gate_bias": "low"}, "^gate_bias must be a number, got 'low'"),
        (
            {"unit": "relu_before_addition", "zero_init_residual": True},
            "without a gradient, .*leave out one of",
        ),
        ({"bottlenecks": "yes"}, "^bottlenecks must be true or false, got 'yes'"),
    ],
)
def test_impossible_units(options: dict, message: str):
    with pytest.raises(OptionError, match=message):
        create_model("resnet20_cifar", **options)


@pytest.mark.parametrize(
    ("name", "bottlenecks", "known"),
    [
        ("resnet32_cifar", True, r"9n\+2 \(29, .*\), got 32"),
        ("resnet29_cifar", False, r"6n\+2 \(20, .*, got 29"),
    ],
)
def test_depths_that_do_not_exist(name: str, bottlenecks: bool, known: str):
    with pytest.raises(OptionError, match=f"^depth must be {known}"):
        create_model(name, bottlenecks=bottlenecks)


@pytest.mark.parametrize(
    "name", ["resnet18", "plain20_cifar", "preact_resnet20_cifar", "vgg16", "highway19_cifar"]
)
def test_other_families_have_no_units(name: str):
    with torch.device("meta"):
        for option, value in {"unit": "scaled", "scaling": (1, 1), "gate_bias": 0.0}.items():
            with pytest.raises(
                OptionError, match=f"^{name} has no variants of the residual unit; leave out {option}="
            ):
                create_model(name, **{option: value})
        with pytest.raises(
            OptionError, match="has no choice of basic blocks or bottlenecks; leave out bottlenecks=T"
        ):
            create_model(name, bottlenecks=True)
