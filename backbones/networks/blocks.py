"""Building blocks of He et al. 2015: plain and residual blocks, three shortcuts, stages of them.

Every block has a `bypass`, which is what remains of it when its residual is deleted (`backbones.lesion`).
Residual blocks also give the two terms of their sum; `activates_sum` says whether a ReLU follows it. In their
`silenced_by` they name the layer that ends the residual: at weight 0 the residual is silent. Two attributes
may be absent: `normalises_sum` is true where normalisation follows the sum, `weighs_shortcut` where the
shortcut is multiplied by a factor or a gate.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn, relu, relu_

from backbones.networks.frozen_norm import convolve

Shortcut = Literal["A", "B", "C"]
StrideOn = Literal["1x1", "3x3"]
Dilation = tuple[int, int]  # before and after the stride of a block, which may be the one that it replaces


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def conv3x3(
    in_channels: int, out_channels: int, stride: int = 1, *, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, groups, bias=False)


class ZeroPadShortcut(nn.Module):
    """Option A (§3.3): every stride-th pixel, the new channels zero and after the old ones. No parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class Projection(nn.Sequential):
    """A 1x1 convolution and its normalisation."""

    folds = (("0", "1"),)

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self
        return convolve(conv, norm, x)


def make_shortcut(
    option: Shortcut, in_channels: int, out_channels: int, stride: int, *, norm: bool = True
) -> nn.Module:
    """Shortcut of one block: A, B (a projection where the shape changes) or C (a projection everywhere).

    Args:
        norm: batch normalisation behind a projection; pre-activation blocks have none.
    """
    if option != "C" and stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if option == "A":
        return ZeroPadShortcut(in_channels, out_channels, stride)
    projection = conv1x1(in_channels, out_channels, stride)
    return Projection(projection, nn.BatchNorm2d(out_channels)) if norm else nn.Sequential(projection)


class PlainBlock(nn.Module):
    """Two 3x3 convolutions: the basic block without its shortcut."""

    folds = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, dilation: Dilation = (1, 1)
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride, dilation=dilation[0])
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, dilation=dilation[1])
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = relu_(convolve(self.conv1, self.bn1, x))
        return relu_(convolve(self.conv2, self.bn2, x))

    def bypass(self, x: Tensor) -> Tensor:
        """The input. There is no shortcut, so that where the shape changes option A stands in for one."""
        first = self.conv1
        if first.stride == (1, 1) and first.in_channels == first.out_channels:
            return x
        return ZeroPadShortcut(first.in_channels, first.out_channels, first.stride[0])(x)


# What the residual blocks, BasicBlock and Bottleneck, have in common.


def _forward(block: Any, x: Tensor) -> Tensor:
    return relu_(block.residual(x).add_(block.shortcut(x)))  # the sum in the residual's own memory


def _terms(block: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """The terms of the sum, shortcut and residual."""
    return block.shortcut(x), block.residual(x)


def _bypass(block: Any, x: Tensor) -> Tensor:
    """The block without its residual."""
    return relu(block.shortcut(x))


def _shortcut(block: Any, x: Tensor) -> Tensor:
    return block.downsample(x)  # torchvision's name


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (figure 5, left)."""

    folds = (("conv1", "bn1"), ("conv2", "bn2"))
    silenced_by = "bn2"
    activates_sum = True
    forward, terms, bypass, shortcut = _forward, _terms, _bypass, _shortcut

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        shortcut: Shortcut,
        dilation: Dilation = (1, 1),
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride, dilation=dilation[0])
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, dilation=dilation[1])
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride)

    def residual(self, x: Tensor) -> Tensor:
        x = relu_(convolve(self.conv1, self.bn1, x))
        return convolve(self.conv2, self.bn2, x)


def strides_of_bottleneck(stride: int, stride_on: StrideOn, dilation: Dilation) -> tuple[int, int, int]:
    """Strides of the first 1x1 and of the 3x3 convolution, and the dilation of the latter."""
    return (stride, 1, dilation[1]) if stride_on == "1x1" else (1, stride, dilation[0])


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (figure 5, right).

    The paper and its Caffe networks stride on the first 1x1; torchvision and timm on the 3x3 ("V1.5").
    The 3x3 convolution of ResNeXt has groups, that of Wide ResNet a multiple of the width.
    """

    folds = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))
    silenced_by = "bn3"
    activates_sum = True
    forward, terms, bypass, shortcut = _forward, _terms, _bypass, _shortcut

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        shortcut: Shortcut,
        stride_on: StrideOn,
        dilation: Dilation = (1, 1),
        groups: int = 1,
        width: int = 1,
    ) -> None:
        super().__init__()
        channels = out_channels // 4 * width
        stride1, stride2, dilation2 = strides_of_bottleneck(stride, stride_on, dilation)
        self.conv1 = conv1x1(in_channels, channels, stride1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride2, dilation=dilation2, groups=groups)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride)

    def residual(self, x: Tensor) -> Tensor:
        x = relu_(convolve(self.conv1, self.bn1, x))
        x = relu_(convolve(self.conv2, self.bn2, x))
        return convolve(self.conv3, self.bn3, x)


class StageStride(NamedTuple):
    """How a stage of an ImageNet network samples.

    Attributes:
        stride: of its first block; 1 where dilation replaces it.
        dilation: of its 3x3 convolutions before and after that stride.
        total: stride of its output in pixels of the network's input.
    """

    stride: int
    dilation: Dilation
    total: int


def stage_strides(
    dilated: Collection[str] = (), *, stem: int = 4, stages: Sequence[str] = ("res2", "res3", "res4", "res5")
) -> dict[str, StageStride]:
    """Each stage but the first halves the size, unless it gives up its stride for dilation ("à trous").

    Only what comes after the stride that was given up is dilated, so that every second pixel of the dilated
    stage is the strided stage's output.

    Args:
        dilated: names of the stages that are dilated.
        stem: stride of the first stage's input.
        stages: their names.
    """
    strides, dilation, total = {}, 1, stem
    for stage in stages:
        before, stride = dilation, 1 if stage == stages[0] else 2
        if stage in dilated:
            dilation, stride = dilation * stride, 1
        total *= stride
        strides[stage] = StageStride(stride, (before, dilation), total)
    return strides


def make_stages(
    block: Callable[..., nn.Module],
    channels: Sequence[int],
    num_blocks: Sequence[int],
    strides: Iterable[StageStride],
    *,
    activated: bool = False,
) -> list[nn.Sequential]:
    """The rows of Table 1: stages of blocks of equal output size, the first of which strides.

    Args:
        block: called as block(in_channels, out_channels, stride, dilation=...).
        channels: of the first stage's input, and of each stage's output.
        num_blocks, strides: of each stage.
        activated: the input has passed pre-activation already, which the first block is told.
    """
    stages = []
    for i, (number, stride) in enumerate(zip(num_blocks, strides, strict=True)):
        after, out_channels = stride.dilation[1], channels[i + 1]
        options = {"activated": True} if activated and i == 0 else {}
        first = block(channels[i], out_channels, stride.stride, dilation=stride.dilation, **options)
        rest = (block(out_channels, out_channels, 1, dilation=(after, after)) for _ in range(number - 1))
        stages.append(nn.Sequential(first, *rest))
    return stages


def has_bottlenecks(network: nn.Module) -> bool:
    """Whether its blocks have a third convolution, so that `stride_on` means something for them."""
    return any(name.endswith(".conv3.weight") for name, _ in network.named_parameters())


def initialise(network: nn.Module, *, zero_init_residual: bool) -> None:
    """He initialisation of every convolution (He et al. 2015, "Delving deep"), by fan-out as torchvision.

    Batch normalisation starts at weight 1 and bias 0, the classifier at torch's default. With
    zero_init_residual the last normalisation of every residual starts at weight 0 (Goyal et al. 2017, §5.1);
    in pre-activation blocks, which end in a convolution, that convolution.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for block in network.modules() if zero_init_residual else ():
        last: Any = getattr(block, "silenced_by", None)  # what ends a residual; other modules have none
        if last:
            nn.init.zeros_(block.get_parameter(f"{last}.weight"))
