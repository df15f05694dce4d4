"""The ImageNet networks of He et al. 2015, Table 1, plain and residual; parameter names are torchvision's."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from backbones.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    Shortcut,
    StrideOn,
    initialise,
    make_stage,
)
from backbones.spec import IMAGENET_INPUT, FeatureSpec

# Table 1: blocks in conv2_x … conv5_x.
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class ResNet(nn.Module):
    """conv1, max pooling, four stages, average pooling, classifier.

    Args:
        depth: 18 or 34 (basic or plain blocks), 50, 101 or 152 (bottlenecks).
        num_classes: outputs of the classifier.
        shortcut: option A, B or C of §4.1; None gives the plain network (18 and 34 only).
        stride_on: which convolution of a bottleneck strides; without effect on other blocks.
        zero_init_residual: see `initialise`.
    """

    # feature: the children that compute it. As in Table 1, the pooling belongs to conv2_x.
    stages = {
        "stem": ("conv1", "bn1", "relu"),
        "res2": ("maxpool", "layer1"),
        "res3": ("layer2",),
        "res4": ("layer3",),
        "res5": ("layer4",),
    }

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int = 1000,
        shortcut: Shortcut | None = "B",
        stride_on: StrideOn = "3x3",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        self.name = f"{'resnet' if shortcut else 'plain'}{depth}"
        self.options = {
            "num_classes": num_classes,
            "shortcut": shortcut,
            "stride_on": stride_on,
            "zero_init_residual": zero_init_residual,
        }
        block, wide = _block_and_width(depth, shortcut, stride_on)
        n2, n3, n4, n5 = BLOCKS[depth]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = make_stage(block, 64, 64 * wide, n2, stride=1)
        self.layer2 = make_stage(block, 64 * wide, 128 * wide, n3, stride=2)
        self.layer3 = make_stage(block, 128 * wide, 256 * wide, n4, stride=2)
        self.layer4 = make_stage(block, 256 * wide, 512 * wide, n5, stride=2)
        self.fc = nn.Linear(512 * wide, num_classes)
        initialise(self, zero_init_residual=zero_init_residual)
        self.input_spec = IMAGENET_INPUT
        self.feature_specs = {
            "stem": FeatureSpec(64, 2),
            "res2": FeatureSpec(64 * wide, 4),
            "res3": FeatureSpec(128 * wide, 8),
            "res4": FeatureSpec(256 * wide, 16),
            "res5": FeatureSpec(512 * wide, 32),
        }

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_classes) logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(self.maxpool(x))
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        return self.fc(x.mean((2, 3)))


def _block_and_width(
    depth: int, shortcut: Shortcut | None, stride_on: StrideOn
) -> tuple[Callable[[int, int, int], nn.Module], int]:
    """The block of a depth in Table 1, and its output channels in multiples of its 3x3 convolution's."""
    if shortcut is None:
        return PlainBlock, 1
    if depth < 50:
        return partial(BasicBlock, shortcut=shortcut), 1
    return partial(Bottleneck, shortcut=shortcut, stride_on=stride_on), 4
