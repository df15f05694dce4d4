"""Pre-activation blocks of He et al. 2016, "Identity Mappings in Deep Residual Networks".

Batch normalisation and ReLU stand before each convolution, and nothing follows an addition, so that between
changes of shape shortcuts pass their input unchanged. The stem's bn1 and ReLU stand before the first split
into two paths: there is no `layer1.0.bn1`. `bn_last` and ReLU stand behind the last addition. Other parameter
names are those of residual networks, without normalisation in `downsample`.

The features res2 and above are raw sums, which may be negative and want normalising, as the next stage does.
The last one has passed bn_last and ReLU, as the classifier sees it.
"""

from typing import Any

from torch import Tensor, nn, relu_

from backbones.networks.blocks import (
    Dilation,
    Shortcut,
    StrideOn,
    conv1x1,
    conv3x3,
    make_shortcut,
    strides_of_bottleneck,
)
from backbones.networks.frozen_norm import convolve

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
        return self.conv2(relu_(convolve(self.conv1, self.bn2, active)))


class PreActBottleneck(nn.Module):
    """BN, ReLU, convolution, three times: 1x1, 3x3, 1x1; `activated` as in the basic block."""

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
        x = self.conv2(relu_(convolve(self.conv1, self.bn2, active)))
        return self.conv3(relu_(self.bn3(x)))
