"""Pre-activation residual networks of He et al. 2016, "Identity Mappings in Deep Residual Networks".

Batch normalisation and ReLU stand before each convolution, and nothing follows an addition, so that between
changes of shape shortcuts pass their input unchanged. The stem's bn1 and ReLU stand before the first split
into two paths: there is no `layer1.0.bn1`. `bn_last` and ReLU stand behind the last addition. Other parameter
names are those of residual networks, without normalisation in `downsample`.

The features res2 and above are raw sums, which may be negative and want normalising, as the next stage does.
The last one has passed bn_last and ReLU, as the classifier sees it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn, relu_

from backbones.networks.blocks import (
    Dilation,
    Shortcut,
    StrideOn,
    conv1x1,
    conv3x3,
    initialise,
    make_shortcut,
    make_stages,
    stage_strides,
    strides_of_bottleneck,
)
from backbones.networks.cifar_resnet import CIFAR_STRIDES
from backbones.networks.resnet import BLOCKS
from backbones.spec import describe
from foundation.errors import OptionError

# Table 1 of He et al. 2015, and the 200 layers of He et al. 2016, §4.
PREACT_BLOCKS = BLOCKS | {200: (3, 24, 36, 3)}


# What both blocks have in common; `bn1` and `residual` are theirs.


def _pre_activate(block: Any, x: Tensor) -> Tensor:
    return x if block.bn1 is None else relu_(block.bn1(x))


def _shortcut(block: Any, x: Tensor, active: Tensor) -> Tensor:
    """A projection reads the residual's own pre-activation; without parameters the input itself passes."""
    return block.downsample(active if isinstance(block.downsample, nn.Sequential) else x)


def _terms(block: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """The terms of the sum, shortcut and residual."""
    active = _pre_activate(block, x)
    residual = block.residual(active)  # first, as its layers stand before the shortcut's
    return _shortcut(block, x, active), residual


def _forward(block: Any, x: Tensor) -> Tensor:
    shortcut, residual = block.terms(x)
    return residual.add_(shortcut)


def _bypass(block: Any, x: Tensor) -> Tensor:
    """The block without its residual."""
    return _shortcut(block, x, _pre_activate(block, x))


class PreActBasicBlock(nn.Module):
    """BN, ReLU, 3x3 convolution, twice, and a shortcut that nothing follows (He et al. 2016, figure 1b).

    Args:
        activated: the input has been normalised and activated already, as behind the stem; there is no bn1.
    """

    folds = (("conv1", "bn2"),)
    silenced_by = "conv2"
    activates_sum = False
    forward, terms, bypass = _forward, _terms, _bypass

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        shortcut: Shortcut,
        dilation: Dilation = (1, 1),
        activated: bool = False,
    ) -> None:
        super().__init__()
        self.bn1 = None if activated else nn.BatchNorm2d(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride, dilation=dilation[0])
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, dilation=dilation[1])
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride, norm=False)

    def residual(self, active: Tensor) -> Tensor:
        return self.conv2(relu_(self.bn2(self.conv1(active))))


class PreActBottleneck(nn.Module):
    """BN, ReLU, convolution, three times: 1x1, 3x3, 1x1, and a shortcut that nothing follows.

    Args:
        activated: as in PreActBasicBlock.
    """

    folds = (("conv1", "bn2"), ("conv2", "bn3"))
    silenced_by = "conv3"
    activates_sum = False
    forward, terms, bypass = _forward, _terms, _bypass

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        shortcut: Shortcut,
        stride_on: StrideOn,
        dilation: Dilation = (1, 1),
        activated: bool = False,
    ) -> None:
        super().__init__()
        channels = out_channels // 4
        stride1, stride2, dilation2 = strides_of_bottleneck(stride, stride_on, dilation)
        self.bn1 = None if activated else nn.BatchNorm2d(in_channels)
        self.conv1 = conv1x1(in_channels, channels, stride1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride2, dilation=dilation2)
        self.bn3 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, out_channels)
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride, norm=False)

    def residual(self, active: Tensor) -> Tensor:
        x = self.conv2(relu_(self.bn2(self.conv1(active))))
        return self.conv3(relu_(self.bn3(x)))


class PreActResNet(nn.Module):
    """conv1, bn1, max pooling, four stages, bn_last, average pooling, classifier.

    Args:
        depth: 18 or 34 (basic blocks), 50, 101, 152 or 200 (bottlenecks).
        num_classes, stride_on, dilation: as of `backbones.networks.resnet.ResNet`.
        shortcut: as there; projections read the block's pre-activation.
        zero_init_residual: see `initialise`.
    """

    stages = {
        "stem": ("conv1", "bn1", "relu"),
        "res2": ("maxpool", "layer1"),
        "res3": ("layer2",),
        "res4": ("layer3",),
        "res5": ("layer4", "bn_last", "relu"),
    }
    last_layer = "fc"
    folds = (("conv1", "bn1"),)

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int,
        shortcut: Shortcut = "B",
        stride_on: StrideOn = "3x3",
        zero_init_residual: bool = False,
        dilation: Sequence[str] = (),
    ) -> None:
        super().__init__()
        block, wide = _block_and_width(depth >= 50, shortcut, stride_on)
        channels = (64, 64 * wide, 128 * wide, 256 * wide, 512 * wide)
        strides = stage_strides(dilation).values()
        first = partial(block, activated=True)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages = make_stages(block, channels, PREACT_BLOCKS[depth], strides, first=first)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn_last = nn.BatchNorm2d(512 * wide)
        self.fc = nn.Linear(512 * wide, num_classes)
        initialise(self, zero_init_residual=zero_init_residual)
        describe(
            self,
            f"preact_resnet{depth}",
            channels,
            strides=[2, *(stride.total for stride in strides)],
            num_classes=num_classes,
            shortcut=shortcut,
            stride_on=stride_on,
            zero_init_residual=zero_init_residual,
            dilation=list(dilation),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_classes) logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(self.maxpool(x))
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = self.relu(self.bn_last(x))
        return self.fc(x.mean((2, 3)))


class PreActCifarResNet(nn.Module):
    """A 3x3 convolution, three stages of n blocks at 32², 16², 8² pixels, average pooling, classifier.

    Args:
        depth: 6n+2 with basic blocks, 9n+2 with bottlenecks. Where it is both, basic below 164 layers and
            bottlenecks from there on, as the paper's 110, 164 and 1001.
        num_classes: outputs of the classifier.
        shortcut: None takes the paper's, A for basic blocks and B for bottlenecks.
        stride_on: which convolution of a bottleneck strides; the paper's code: "1x1".
        zero_init_residual: see `initialise`.
    Raises:
        OptionError: depth is neither.
    """

    stages = {
        "stem": ("conv1", "bn1", "relu"),
        "res2": ("layer1",),
        "res3": ("layer2",),
        "res4": ("layer3", "bn_last", "relu"),
    }
    last_layer = "fc"
    folds = (("conv1", "bn1"),)

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int,
        shortcut: Shortcut | None = None,
        stride_on: StrideOn = "3x3",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        bottlenecks = _has_bottlenecks(depth)
        shortcut = shortcut or ("B" if bottlenecks else "A")
        block, wide = _block_and_width(bottlenecks, shortcut, stride_on)
        n = (depth - 2) // (9 if bottlenecks else 6)
        channels, strides = (16, 16 * wide, 32 * wide, 64 * wide), CIFAR_STRIDES
        first = partial(block, activated=True)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        stages = make_stages(block, channels, (n, n, n), strides, first=first)
        self.layer1, self.layer2, self.layer3 = stages
        self.bn_last = nn.BatchNorm2d(64 * wide)
        self.fc = nn.Linear(64 * wide, num_classes)
        initialise(self, zero_init_residual=zero_init_residual)
        describe(
            self,
            f"preact_resnet{depth}_cifar",
            channels,
            strides=[1, *(stride.total for stride in strides)],
            num_classes=num_classes,
            shortcut=shortcut,
            stride_on=stride_on,
            zero_init_residual=zero_init_residual,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_classes) logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.relu(self.bn_last(x))
        return self.fc(x.mean((2, 3)))


def _has_bottlenecks(depth: int) -> bool:
    basic, bottleneck = depth >= 8 and depth % 6 == 2, depth >= 11 and depth % 9 == 2
    if not (basic or bottleneck):
        raise OptionError(f"depth must be 6n+2 (20, 110, …) or 9n+2 (29, 164, 1001, …), got {depth}")
    return bottleneck and (depth >= 164 or not basic)


def _block_and_width(
    bottlenecks: bool, shortcut: Shortcut, stride_on: StrideOn
) -> tuple[Callable[..., nn.Module], int]:
    """The block, and its output channels in multiples of its 3x3 convolution's."""
    if bottlenecks:
        return partial(PreActBottleneck, shortcut=shortcut, stride_on=stride_on), 4
    return partial(PreActBasicBlock, shortcut=shortcut), 1
