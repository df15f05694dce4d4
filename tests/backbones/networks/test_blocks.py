import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from backbones.networks.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    Projection,
    ZeroPadShortcut,
    has_bottlenecks,
    initialise,
    make_shortcut,
    make_stages,
    stage_strides,
)
from backbones.networks.preact import PreActBasicBlock, PreActBottleneck


def silence(block, norm):
    """With its last normalisation at weight 0 the residual is zero, and the block is relu(shortcut)."""
    nn.init.zeros_(norm.weight)
    return block.eval()


def test_option_a_by_hand():
    # One channel 4x4 holding 0 … 15, stride 2: rows and columns 0 and 2 stay, [[0, 2], [8, 10]];
    # the second and third channel are zero and come after it.
    x = torch.arange(16.0).view(1, 1, 4, 4)
    expected = torch.tensor([[[0.0, 2.0], [8.0, 10.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert torch.equal(ZeroPadShortcut(1, 3, stride=2)(x)[0], expected)


@given(
    channels=st.integers(1, 5),
    new=st.integers(0, 5),
    stride=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_option_a_fits_the_residual_at_every_size(channels, new, stride, height, width):
    x = torch.randn(2, channels, height, width)
    block = BasicBlock(channels, channels + new, stride, shortcut="A")
    assert block.shortcut(x).shape == block.residual(x).shape


def test_option_a_keeps_channels_last():
    x = torch.randn(2, 16, 8, 8).to(memory_format=torch.channels_last)
    assert ZeroPadShortcut(16, 32, 2)(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("option", "same_shape", "other_shape"),
    [
        ("A", nn.Identity, ZeroPadShortcut),
        ("B", nn.Identity, Projection),
        ("C", Projection, Projection),
    ],
)
def test_kinds_of_shortcuts(option, same_shape, other_shape):
    assert type(make_shortcut(option, 8, 8, 1)) is same_shape
    assert type(make_shortcut(option, 8, 16, 2)) is other_shape
    assert type(make_shortcut(option, 8, 16, 1)) is other_shape
    assert type(make_shortcut(option, 8, 8, 2)) is other_shape


def test_block_is_relu_of_shortcut_plus_residual():
    for block in (
        BasicBlock(8, 8, 1, shortcut="B"),
        BasicBlock(8, 16, 2, shortcut="C"),
        Bottleneck(8, 16, 2, shortcut="A", stride_on="1x1"),
    ):
        block.eval()
        x = torch.randn(2, 8, 6, 6)
        before = x.clone()
        expected = (block.shortcut(x) + block.residual(x)).relu()
        assert torch.equal(block(x), expected)
        assert torch.equal(x, before)  # nothing in place reaches the input


def test_silent_residual_leaves_the_shortcut():
    x = torch.randn(2, 8, 5, 5)
    basic = BasicBlock(8, 8, 1, shortcut="A")
    bottleneck = Bottleneck(8, 8, 1, shortcut="B", stride_on="3x3")
    assert torch.equal(silence(basic, basic.bn2)(x), x.relu())
    assert torch.equal(silence(bottleneck, bottleneck.bn3)(x), x.relu())


def test_plain_block_has_no_shortcut():
    plain = PlainBlock(8, 8, 1)
    assert not silence(plain, plain.bn2)(torch.randn(1, 8, 5, 5)).any()


@pytest.mark.parametrize(("stride_on", "strides"), [("1x1", (2, 1)), ("3x3", (1, 2))])
def test_bottleneck_strides_where_told(stride_on, strides):
    block = Bottleneck(64, 128, 2, shortcut="B", stride_on=stride_on)
    assert (block.conv1.stride[0], block.conv2.stride[0]) == strides
    assert block.downsample[0].stride == (2, 2)
    assert block(torch.randn(2, 64, 7, 7)).shape == (2, 128, 4, 4)


@pytest.mark.parametrize(("stride_on", "dilations"), [("1x1", (1, 4)), ("3x3", (1, 2))])
@pytest.mark.parametrize("block", [Bottleneck, PreActBottleneck])
def test_a_bottleneck_dilates_what_follows_its_stride(block, stride_on, dilations):
    made = block(64, 128, 1, shortcut="B", stride_on=stride_on, dilation=(2, 4))
    assert (made.conv1.dilation[0], made.conv2.dilation[0]) == dilations
    assert made.conv2.padding == made.conv2.dilation
    assert made(torch.randn(2, 64, 9, 9)).shape == (2, 128, 9, 9)


def test_basic_blocks_dilate_what_follows_their_stride():
    for made in (
        PlainBlock(8, 16, 1, dilation=(2, 4)),
        BasicBlock(8, 16, 1, shortcut="B", dilation=(2, 4)),
        PreActBasicBlock(8, 16, 1, shortcut="A", dilation=(2, 4)),
    ):
        assert (made.conv1.dilation, made.conv2.dilation) == ((2, 2), (4, 4))
        assert made(torch.randn(2, 8, 9, 9)).shape == (2, 16, 9, 9)


def test_groups_and_width_of_the_3x3_convolution():
    # 256 / 4 * 2 = 128 channels in 32 groups: 128 filters over 128 / 32 = 4 channels.
    block = Bottleneck(64, 256, 2, shortcut="B", stride_on="3x3", groups=32, width=2)
    assert block.conv1.weight.shape == (128, 64, 1, 1)
    assert block.conv2.weight.shape == (128, 4, 3, 3)
    assert block.conv3.weight.shape == (256, 128, 1, 1)


def test_he_initialisation():
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 128, 3, bias=False)
    initialise(conv, zero_init_residual=False)
    # std = sqrt(2 / fan_out) = sqrt(2 / (128 * 9)) = 0.041667; 73,728 draws pin it to well under 2 %
    assert conv.weight.std().item() == pytest.approx(0.041667, rel=0.02)
    assert conv.weight.mean().item() == pytest.approx(0, abs=1e-3)


def test_zero_init_residual_silences_what_ends_the_residual_only():
    net = nn.Sequential(
        BasicBlock(8, 8, 1, shortcut="B"),
        Bottleneck(8, 16, 1, shortcut="B", stride_on="3x3"),
        PreActBasicBlock(16, 16, 1, shortcut="B"),
        PreActBottleneck(16, 32, 1, shortcut="B", stride_on="3x3"),
    )
    initialise(net, zero_init_residual=True)
    zero = {name for name, p in net.named_parameters() if name.endswith("weight") and not p.any()}
    assert zero == {"0.bn2.weight", "1.bn3.weight", "2.conv2.weight", "3.conv3.weight"}
    assert net[1].downsample[1].weight.all()


def test_stages_by_hand():
    # Two stages at half and a quarter of the size; the first block of each but the first strides.
    strides = stage_strides(stem=2, stages=("res2", "res3"))
    assert [stride.total for stride in strides.values()] == [2, 4]
    stages = make_stages(PlainBlock, (3, 4, 8), (1, 2), strides.values())
    assert [[(block.conv1.in_channels, block.conv1.stride[0]) for block in stage] for stage in stages] == [
        [(3, 1)],
        [(4, 2), (8, 1)],
    ]
    assert stages[1](stages[0](torch.zeros(1, 3, 8, 8))).shape == (1, 8, 4, 4)


def test_bottlenecks_are_known_by_their_third_convolution():
    bottleneck = Bottleneck(8, 8, 1, shortcut="B", stride_on="3x3")
    assert has_bottlenecks(nn.Sequential(bottleneck)) and not has_bottlenecks(
        nn.Sequential(PlainBlock(3, 4, 1))
    )
