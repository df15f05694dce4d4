"""Building blocks of He et al. 2015: plain, basic and bottleneck blocks, and the three shortcuts."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn, relu_

Shortcut = Literal["A", "B", "C"]
StrideOn = Literal["1x1", "3x3"]


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


class ZeroPadShortcut(nn.Module):
    """Option A (§3.3): every stride-th pixel, the new channels zero and after the old ones. No parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


def make_shortcut(option: Shortcut, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Shortcut of one block: A, B (a projection where the shape changes) or C (a projection everywhere)."""
    if option != "C" and stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if option == "A":
        return ZeroPadShortcut(in_channels, out_channels, stride)
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


class PlainBlock(nn.Module):
    """Two 3x3 convolutions: the basic block without its shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = relu_(self.bn1(self.conv1(x)))
        return relu_(self.bn2(self.conv2(x)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (figure 5, left)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, shortcut: Shortcut) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride)  # torchvision's name

    def shortcut(self, x: Tensor) -> Tensor:
        return self.downsample(x)

    def residual(self, x: Tensor) -> Tensor:
        x = relu_(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))

    def forward(self, x: Tensor) -> Tensor:
        return relu_(self.residual(x).add_(self.shortcut(x)))  # the sum in the residual's own memory


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (figure 5, right).

    The paper and its Caffe networks stride on the first 1x1; torchvision and timm on the 3x3 ("V1.5").
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, shortcut: Shortcut, stride_on: StrideOn
    ) -> None:
        super().__init__()
        channels = out_channels // 4
        stride1, stride2 = (stride, 1) if stride_on == "1x1" else (1, stride)
        self.conv1 = conv1x1(in_channels, channels, stride1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride2)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride)  # torchvision's name

    def shortcut(self, x: Tensor) -> Tensor:
        return self.downsample(x)

    def residual(self, x: Tensor) -> Tensor:
        x = relu_(self.bn1(self.conv1(x)))
        x = relu_(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))

    def forward(self, x: Tensor) -> Tensor:
        return relu_(self.residual(x).add_(self.shortcut(x)))  # the sum in the residual's own memory


def make_stage(
    block: Callable[[int, int, int], nn.Module],
    in_channels: int,
    out_channels: int,
    num_blocks: int,
    stride: int,
) -> nn.Sequential:
    """One row of Table 1: blocks of equal output size, the first of which strides."""
    rest = [block(out_channels, out_channels, 1) for _ in range(num_blocks - 1)]
    return nn.Sequential(block(in_channels, out_channels, stride), *rest)


def initialise(network: nn.Module, *, zero_init_residual: bool) -> None:
    """He initialisation of every convolution (He et al. 2015, "Delving deep"), by fan-out as torchvision.

    Batch normalisation starts at weight 1 and bias 0, the classifier at torch's default. With
    zero_init_residual the last normalisation of every residual starts at weight 0 (Goyal et al. 2017, §5.1).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif zero_init_residual and isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
        elif zero_init_residual and isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
