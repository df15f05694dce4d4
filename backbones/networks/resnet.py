"""The ImageNet networks of He et al. 2015, Table 1, plain, residual and pre-activation.

Parameter names are torchvision's.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from backbones.networks.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    Shortcut,
    StrideOn,
    initialise,
    make_stages,
    stage_strides,
)
from backbones.networks.preact import PreActBasicBlock, PreActBottleneck
from backbones.spec import describe

StemPool = Literal["padded", "ceil"]
# Table 1: blocks in conv2_x … conv5_x.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
PREACT_BLOCKS = BLOCKS | {200: (3, 24, 36, 3)}  # He et al. 2016, §4
# Successors made of the same bottlenecks (Xie et al. 2017; Zagoruyko and Komodakis 2016, as torchvision has
# them): depth, groups of the 3x3 convolution, and its width in multiples of ResNet's.
VARIANTS = {
    "resnext50_32x4d": (50, 32, 2),
    "resnext101_32x8d": (101, 32, 4),
    "wide_resnet50_2": (50, 1, 2),
    "wide_resnet101_2": (101, 1, 2),
}


def block_and_width(
    bottlenecks: bool, shortcut: Shortcut | None, stride_on: StrideOn, *, preact: bool, **variant: Any
) -> tuple[Callable[..., nn.Module], int]:
    """The block, and its output channels in multiples of its 3x3 convolution's."""
    if shortcut is None:
        return PlainBlock, 1
    if not bottlenecks:
        return partial(PreActBasicBlock if preact else BasicBlock, shortcut=shortcut), 1
    bottleneck = PreActBottleneck if preact else Bottleneck
    return partial(bottleneck, shortcut=shortcut, stride_on=stride_on, **variant), 4


class ResNet(nn.Module):
    """conv1, max pooling, four stages, average pooling, classifier.

    Args:
        depth: 18 or 34 (basic or plain blocks), 50, 101, 152, with preact 200 (bottlenecks).
        shortcut: option A, B or C of §4.1; None gives the plain network (18 and 34 only).
        stem_pool: "padded" pools with a pixel of padding, as torchvision; "ceil" without, rounding the size
            up, as Caffe's networks: the windows lie a pixel apart, and pictures of 4k+1 and 4k+2 pixels have
            features one pixel smaller.
        preact: pre-activation blocks, and bn_last and ReLU behind them (see `backbones.networks.preact`).
        groups, width: of the 3x3 convolution in a bottleneck that is not pre-activated; see `VARIANTS`.
        num_classes, stride_on, zero_init_residual, dilation: as in `backbones.create_model`.
    """

    # feature: the children that compute it. As in Table 1, the pooling belongs to conv2_x.
    stages = {
        "stem": ("conv1", "bn1", "relu"),
        "res2": ("maxpool", "layer1"),
        "res3": ("layer2",),
        "res4": ("layer3",),
        "res5": ("layer4",),
    }
    last_layer = "fc"
    folds = (("conv1", "bn1"),)

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int,
        shortcut: Shortcut | None = "B",
        stride_on: StrideOn = "3x3",
        zero_init_residual: bool = False,
        stem_pool: StemPool = "padded",
        dilation: Sequence[str] = (),
        preact: bool = False,
        groups: int = 1,
        width: int = 1,
    ) -> None:
        super().__init__()
        variant = {} if preact else {"groups": groups, "width": width}
        block, wide = block_and_width(depth >= 50, shortcut, stride_on, preact=preact, **variant)
        channels = (64, 64 * wide, 128 * wide, 256 * wide, 512 * wide)
        strides = stage_strides(dilation).values()
        ceil = stem_pool == "ceil"
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=0 if ceil else 1, ceil_mode=ceil)
        stages = make_stages(block, channels, PREACT_BLOCKS[depth], strides, activated=preact)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn_last = nn.BatchNorm2d(512 * wide) if preact else None
        if preact:
            self.stages = ResNet.stages | {"res5": ("layer4", "bn_last", "relu")}
        self.fc = nn.Linear(512 * wide, num_classes)
        initialise(self, zero_init_residual=zero_init_residual)
        name = f"{'preact_resnet' if preact else 'resnet' if shortcut else 'plain'}{depth}"
        describe(
            self,
            {values: name for name, values in VARIANTS.items()}.get((depth, groups, width), name),
            channels,
            strides=[2, *(stride.total for stride in strides)],
            num_classes=num_classes,
            shortcut=shortcut,
            stride_on=stride_on,
            zero_init_residual=zero_init_residual,
            stem_pool=stem_pool,
            dilation=list(dilation),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_classes) logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(self.maxpool(x))
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = x if self.bn_last is None else self.relu(self.bn_last(x))
        return self.fc(x.mean((2, 3)))
