"""The CIFAR-10 networks of He et al. 2015, §4.2, and of He et al. 2016: plain, residual, pre-activation."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from backbones.networks.blocks import Shortcut, StrideOn, initialise, make_stages, stage_strides
from backbones.networks.residual_units import GATE_BIAS, SCALING, ResidualUnit, Unit, check_unit
from backbones.networks.resnet import block_and_width
from backbones.spec import describe
from foundation.errors import OptionError


class CifarResNet(nn.Module):
    """A 3x3 convolution, three stages of n blocks at 32², 16², 8² pixels, average pooling, classifier.

    Args:
        depth: 6n+2 with basic or plain blocks. Pre-activation networks also have bottlenecks, in depths of
            9n+2; where a depth is both, basic below 164 layers and bottlenecks from there on, as the paper's
            110, 164 and 1001.
        bottlenecks: blocks with three convolutions, in depths of 9n+2, as the ResNet-164 of He et al. 2016;
            pre-activation networks have them by their depth.
        unit, scaling, gate_bias: the residual unit (see `backbones.networks.residual_units`).
        shortcut: None takes the papers', A for basic blocks and B for bottlenecks.
        stride_on: as in `backbones.create_model`; the code of He et al. 2016 has "1x1".
        plain: no shortcuts.
        preact: pre-activation blocks, and bn_last and ReLU behind them (see `backbones.networks.preact`).
        num_classes, zero_init_residual: as in `backbones.create_model`.
    Raises:
        OptionError: there is no network of that depth, or no such unit.
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
        shortcut: Shortcut | None = None,
        stride_on: StrideOn = "3x3",
        zero_init_residual: bool = False,
        bottlenecks: bool = False,
        unit: Unit = "original",
        scaling: Sequence[float] = SCALING,
        gate_bias: float = GATE_BIAS,
        plain: bool = False,
        preact: bool = False,
    ) -> None:
        super().__init__()
        of_unit = check_unit(unit, scaling, gate_bias, zero_init_residual=zero_init_residual)
        unit, scaling, gate_bias = of_unit
        bottleneck = _has_bottlenecks(depth, bottlenecks=bottlenecks, preact=preact)
        shortcut = None if plain else shortcut or ("B" if bottleneck else "A")
        block, wide = block_and_width(bottleneck, shortcut, stride_on, preact=preact)
        if shortcut and unit != "original":
            settings: dict[str, Any] = {"scaling": scaling, "gate_bias": gate_bias, "stride_on": stride_on}
            block = partial(ResidualUnit, unit=unit, shortcut=shortcut, bottleneck=bottleneck, **settings)
        n = (depth - 2) // (9 if bottleneck else 6)
        channels = (16, 16 * wide, 32 * wide, 64 * wide)
        strides = stage_strides(stem=1, stages=("res2", "res3", "res4")).values()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1, self.layer2, self.layer3 = make_stages(
            block, channels, (n, n, n), strides, activated=preact
        )
        self.bn_last = nn.BatchNorm2d(64 * wide) if preact else None
        # Not in place, unlike `relu`: what it reads are the last sums, which an analysis may keep.
        self.relu_last = nn.ReLU() if unit == "relu_only_preactivation" else None
        if preact:
            self.stages = CifarResNet.stages | {"res4": ("layer3", "bn_last", "relu")}
        elif self.relu_last is not None:
            self.stages = CifarResNet.stages | {"res4": ("layer3", "relu_last")}
        self.fc = nn.Linear(64 * wide, num_classes)
        initialise(self, zero_init_residual=zero_init_residual)
        kind = "preact_resnet" if preact else "plain" if plain else "resnet"
        options: dict[str, Any] = {"stride_on": stride_on} if preact or bottlenecks else {}
        options |= {"zero_init_residual": zero_init_residual, "bottlenecks": bottlenecks}
        options |= {"unit": unit, "scaling": list(scaling), "gate_bias": gate_bias}
        totals = [1, *(stride.total for stride in strides)]
        name = f"{kind}{depth}_cifar"
        describe(self, name, channels, totals, num_classes=num_classes, shortcut=shortcut, **options)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_classes) logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = x if self.bn_last is None else self.relu(self.bn_last(x))
        x = x if self.relu_last is None else self.relu_last(x)
        return self.fc(x.mean((2, 3)))


def _has_bottlenecks(depth: int, *, bottlenecks: bool, preact: bool) -> bool:
    """Whether the blocks of a network of this depth have three convolutions instead of two."""
    basic = not bottlenecks and depth >= 8 and depth % 6 == 2
    bottleneck = (bottlenecks or preact) and depth >= 11 and depth % 9 == 2
    if not (basic or bottleneck):
        known = ["6n+2 (20, 110, …)" if preact else "6n+2 (20, 32, 44, …)"] * (not bottlenecks)
        known += ["9n+2 (29, 164, 1001, …)"] * (bottlenecks or preact)
        raise OptionError(f"depth must be {' or '.join(known)}, got {depth}")
    return bottleneck and (depth >= 164 or not basic)
