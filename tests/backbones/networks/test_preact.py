"""Pre-activation networks: the paper's order of layers by hand, and timm's networks on the same weights."""

import re
from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

from backbones import OptionError, create_backbone, create_model
from backbones.networks.preact import PreActBasicBlock, PreActBottleneck


def timms_name(ours: str) -> str:
    """timm's name of one of our tensors: the stem's bn1 is the first block's norm1 there."""
    ours = re.sub(r"^bn1\.", "layer1.0.bn1.", ours)
    ours = re.sub(r"^layer(\d)\.", lambda match: f"stages.{int(match[1]) - 1}.blocks.", ours)
    ours = ours.replace("downsample.0", "downsample.conv")
    ours = re.sub(r"\.bn(\d)\.", r".norm\1.", ours)
    ours = re.sub(r"^conv1\.", "stem.conv.", ours)
    return ours.replace("bn_last", "norm").replace("fc.", "head.fc.")


@pytest.fixture
def timms(build_equal: Callable[..., nn.Module]) -> Callable[[int, nn.Module], nn.Module]:
    """timm's network with our tensors in eval mode; its classifier, a 1x1 convolution, becomes linear."""

    def build(depth: int, ours: nn.Module, **options: int) -> nn.Module:
        def make() -> nn.Module:
            network = timm.create_model(f"resnetv2_{depth}", pretrained=False, **options)
            network.head.fc, network.head.flatten = nn.Linear(network.num_features, 1000), nn.Identity()
            network.head.global_pool.flatten = nn.Flatten()
            return network

        return build_equal(make, ours, timms_name).eval()

    return build


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_bottlenecks_equal_timms(depth, timms, randomise_norms, relative_difference):
    # timm normalises behind the max pooling, the paper's code before it. The two commute where the weight is
    # positive, as here, because both are then increasing in each channel.
    torch.manual_seed(depth)
    ours = create_model(f"preact_resnet{depth}").eval()
    randomise_norms(ours)
    theirs = timms(depth, ours)
    with torch.no_grad():
        for images in (torch.randn(2, 3, 64, 64), torch.randn(1, 3, 75, 33)):
            assert relative_difference(ours(images), theirs(images)) < 1e-5


@pytest.mark.parametrize(("output_stride", "dilation"), [(16, ["res5"]), (8, ["res4", "res5"])])
def test_dilation_equals_timms(output_stride, dilation, timms, randomise_norms, relative_difference):
    torch.manual_seed(0)
    ours = create_model("preact_resnet50", dilation=dilation).eval()
    randomise_norms(ours)
    theirs = timms(50, ours, output_stride=output_stride)
    images = torch.randn(1, 3, 64, 75)
    with torch.no_grad():
        assert relative_difference(ours(images), theirs(images)) < 1e-5


@pytest.mark.parametrize("depth", [18, 34])
def test_basic_blocks_equal_timms_but_for_the_first_split(depth, timms, randomise_norms, relative_difference):
    # timm's first shortcut passes what is not activated yet; in the paper activation comes before the split.
    torch.manual_seed(depth)
    ours = create_model(f"preact_resnet{depth}").eval()
    randomise_norms(ours)
    theirs = timms(depth, ours)
    images = torch.randn(2, 3, 75, 64)
    with torch.no_grad():
        assert relative_difference(ours(images), theirs(images)) > 1e-3
        first = theirs.stages[0].blocks[0]
        first.norm1, activate = nn.Identity(), first.norm1
        theirs.stem.append(activate)
        assert relative_difference(ours(images), theirs(images)) < 1e-5


def test_features_equal_timms(timms, randomise_norms, relative_difference):
    torch.manual_seed(0)
    network = create_model("preact_resnet50").eval()
    randomise_norms(network)
    theirs = timms(50, network)
    images = torch.randn(1, 3, 75, 91)
    trunk = create_backbone("preact_resnet50", out_features=("res2", "res3", "res4", "res5")).eval()
    trunk.load_state_dict({name: network.state_dict()[name] for name in trunk.state_dict()})
    with torch.no_grad():
        *raw, last = trunk(images).values()
        expected = [x := theirs.stem(images)] + [x := stage(x) for stage in theirs.stages]
        for ours, wanted in zip(raw, expected[1:4], strict=True):
            assert relative_difference(ours, wanted) < 1e-5
            assert ours.min() < 0  # sums that nothing has activated
        assert relative_difference(last, theirs.norm(expected[4])) < 1e-5
        assert last.min() == 0


def test_blocks_by_hand(randomise_norms):
    for block in (
        PreActBasicBlock(8, 8, 1, shortcut="B"),
        PreActBottleneck(8, 8, 1, shortcut="A", stride_on="3x3"),
    ):
        randomise_norms(block.eval())
        x = torch.randn(2, 8, 6, 6)
        before = x.clone()
        active = block.bn1(x).relu()
        assert torch.equal(block(x), x + block.residual(active))  # the identity passes x itself
        assert torch.equal(x, before)


@pytest.mark.parametrize("option", ["B", "C"])
def test_projections_read_the_pre_activation_and_have_no_normalisation(option, randomise_norms):
    block = PreActBasicBlock(8, 16, 2, shortcut=option).eval()
    randomise_norms(block)
    x = torch.randn(2, 8, 7, 7)
    active = block.bn1(x).relu()
    torch.testing.assert_close(block(x), block.downsample(active) + block.residual(active))
    assert [type(module) for module in block.downsample] == [nn.Conv2d]


def test_option_a_passes_the_input_itself(randomise_norms):
    block = PreActBasicBlock(8, 16, 2, shortcut="A").eval()
    randomise_norms(block)
    x = torch.randn(2, 8, 7, 7)
    expected = block.residual(block.bn1(x).relu())
    expected[:, :8] += x[:, :, ::2, ::2]
    torch.testing.assert_close(block(x), expected)


def test_the_first_block_splits_behind_the_stems_activation():
    torch.manual_seed(0)
    network = create_model("preact_resnet20_cifar").train()
    first = network.layer1[0]
    assert first.bn1 is None and network.layer1[1].bn1 is not None and network.layer2[0].bn1 is not None
    x = torch.randn(2, 16, 8, 8).relu()
    assert torch.equal(first(x), x + first.residual(x))
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in network.parameters())


def test_silent_residuals_leave_stem_shortcuts_and_last_activation(randomise_norms):
    network = create_model("preact_resnet20_cifar", zero_init_residual=True).eval()
    randomise_norms(network)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        x = network.bn1(network.conv1(images)).relu()
        for stage, channels in ((network.layer2, 16), (network.layer3, 32)):
            x = torch.cat([x[:, :, ::2, ::2], torch.zeros(2, channels, *stage(x).shape[2:])], dim=1)
        expected = network.fc(network.bn_last(x).relu().mean((2, 3)))
        torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize(
    ("depth", "block"),
    [
        (8, PreActBasicBlock),
        (11, PreActBottleneck),  # 9n+2 alone
        (20, PreActBasicBlock),  # both
        (29, PreActBottleneck),
        (110, PreActBasicBlock),
        (164, PreActBottleneck),  # both
        (170, PreActBasicBlock),  # 6n+2 alone
    ],
)
def test_depths_on_cifar(depth, block):
    network = create_model(f"preact_resnet{depth}_cifar")
    assert type(network.layer1[0]) is block
    assert network.options["shortcut"] == ("A" if block is PreActBasicBlock else "B")
    layers = [m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    projections = 0 if block is PreActBasicBlock else 3
    assert len(layers) - projections == depth


@pytest.mark.parametrize("depth", [2, 9, 10, 21, 165])
def test_other_depths_are_refused(depth):
    with pytest.raises(OptionError, match=rf"depth must be 6n\+2 .* or 9n\+2 .*, got {depth}$"):
        create_model(f"preact_resnet{depth}_cifar")


def test_stride_on_in_bottlenecks_alone():
    network = create_model("preact_resnet29_cifar", stride_on="1x1")
    assert network.layer2[0].conv1.stride == (2, 2) and network.layer2[0].conv2.stride == (1, 1)
    with pytest.raises(OptionError, match="preact_resnet20_cifar has no bottlenecks; leave out stride_on"):
        create_model("preact_resnet20_cifar", stride_on="1x1")
