"""The CIFAR-10 networks of He et al. 2015, §4.2: depth 6n+2, plain and residual."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from backbones.networks.blocks import (
    BasicBlock,
    PlainBlock,
    Shortcut,
    initialise,
    make_stages,
    stage_strides,
)
from backbones.spec import describe
from foundation.errors import OptionError

# 32², 16² and 8² pixels.
CIFAR_STRIDES = tuple(stage_strides(stem=1, stages=("res2", "res3", "res4")).values())


class CifarResNet(nn.Module):
    """A 3x3 convolution, three stages of n blocks at 32², 16², 8² pixels, average pooling, classifier.

    Args:
        depth: 6n+2.
        num_classes: outputs of the classifier.
        shortcut: the paper uses option A on CIFAR; None gives the plain network.
        zero_init_residual: see `initialise`.
    Raises:
        OptionError: depth is not 6n+2.
    """

    # feature: the children that compute it.
    stages = {"stem": ("conv1", "bn1", "relu"), "res2": ("layer1",), "res3": ("layer2",), "res4": ("layer3",)}
    last_layer = "fc"
    folds = (("conv1", "bn1"),)

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int,
        shortcut: Shortcut | None = "A",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise OptionError(f"depth must be 6n+2 (20, 32, 44, …), got {depth}")
        block: Any = PlainBlock if shortcut is None else partial(BasicBlock, shortcut=shortcut)
        n = (depth - 2) // 6
        channels, strides = (16, 16, 32, 64), CIFAR_STRIDES
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1, self.layer2, self.layer3 = make_stages(block, channels, (n, n, n), strides)
        self.fc = nn.Linear(64, num_classes)
        initialise(self, zero_init_residual=zero_init_residual)
        describe(
            self,
            f"{'resnet' if shortcut else 'plain'}{depth}_cifar",
            channels,
            strides=[1, *(stride.total for stride in strides)],
            num_classes=num_classes,
            shortcut=shortcut,
            zero_init_residual=zero_init_residual,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_classes) logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        return self.fc(x.mean((2, 3)))
