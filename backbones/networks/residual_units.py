"""Variants of the residual unit (He et al. 2016, "Identity Mappings in Deep Residual Networks").

Figure 2 and Table 1 change what the shortcut passes, figure 4 and Table 2 the order of normalisation and
ReLU. The original unit is in `backbones.networks.blocks`, and so is the 1x1 convolution on every shortcut,
option C; full pre-activation is in `backbones.networks.preact`. Parameter names are those of the original,
with `gate` beside them.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

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
from backbones.spec import LATER_OPTIONS
from foundation.errors import OptionError, check_choice

Unit = Literal[
    "original",
    "scaled",  # figure 2(b)
    "exclusive_gating",  # 2(c)
    "shortcut_only_gating",  # 2(d)
    "dropout_shortcut",  # 2(f)
    "bn_after_addition",  # figure 4(b)
    "relu_before_addition",  # 4(c)
    "relu_only_preactivation",  # 4(d)
]
GATED = ("exclusive_gating", "shortcut_only_gating")
# Of Table 1 the factors that converge, and the best start of the gates.
SCALING, GATE_BIAS = tuple(LATER_OPTIONS["scaling"]), LATER_OPTIONS["gate_bias"]
DROPOUT = 0.5


class ResidualUnit(nn.Module):
    """A unit of figure 2 or 4 with two 3x3 convolutions, or with a bottleneck's three.

    Unless said otherwise every convolution of the residual has its normalisation, a ReLU stands between them
    and behind the sum.

    Args:
        unit: "scaled" multiplies shortcut and residual by the numbers in `scaling`. "exclusive_gating"
            multiplies the shortcut by 1 - g(x) and the residual by g(x), "shortcut_only_gating" the shortcut
            alone; g is a 1x1 convolution with the logistic function, its bias starts at `gate_bias`, and it
            strides as the unit does. "dropout_shortcut" drops half of the shortcut in training.
            "bn_after_addition" has the last normalisation behind the sum, "relu_before_addition" the last
            ReLU before it. "relu_only_preactivation" has it before the first convolution; a projection reads
            what it gives.
        bottleneck, stride_on: as of `backbones.networks.blocks.Bottleneck`; without, a basic block.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        unit: Unit,
        shortcut: Shortcut,
        scaling: tuple[float, float] = SCALING,
        gate_bias: float = GATE_BIAS,
        bottleneck: bool = False,
        stride_on: StrideOn = "3x3",
        dilation: Dilation = (1, 1),
    ) -> None:
        super().__init__()
        self.unit, self.scaling = unit, scaling
        layers = (
            _bottleneck_layers(in_channels, out_channels, stride, stride_on, dilation)
            if bottleneck
            else _basic_layers(in_channels, out_channels, stride, dilation)
        )
        for number, layer in enumerate(layers, start=1):
            self.add_module(f"conv{number}", layer)
            self.add_module(f"bn{number}", nn.BatchNorm2d(layer.out_channels))
        self.downsample = make_shortcut(shortcut, in_channels, out_channels, stride)
        self.gate = nn.Conv2d(in_channels, out_channels, 1, stride) if unit in GATED else None
        if self.gate is not None:
            nn.init.constant_(self.gate.bias, gate_bias)  # type: ignore[arg-type] # it has one
        self.dropout = nn.Dropout(DROPOUT) if unit == "dropout_shortcut" else None
        self.normalises_sum = unit == "bn_after_addition"
        self.weighs_shortcut = unit == "scaled" or unit in GATED
        self.activates_sum = unit not in ("relu_before_addition", "relu_only_preactivation")
        pairs = tuple((f"conv{number}", f"bn{number}") for number in range(1, len(layers) + 1))
        self.folds = pairs[:-1] if self.normalises_sum else pairs
        self.silenced_by = pairs[-1][0 if self.normalises_sum else 1]
        self._pairs = pairs

    def forward(self, x: Tensor) -> Tensor:
        shortcut, residual = self.terms(x)
        return self._finish(shortcut + residual)

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The terms of the sum, shortcut and residual."""
        gate = None if self.gate is None else self.gate(x).sigmoid()
        return self._shortcut(x, gate), self._residual(x, gate)

    def bypass(self, x: Tensor) -> Tensor:
        """The unit without its residual: the shortcut keeps its factor, gate or dropout."""
        return self._finish(self._shortcut(x, None if self.gate is None else self.gate(x).sigmoid()))

    def _shortcut(self, x: Tensor, gate: Tensor | None) -> Tensor:
        if self.unit == "relu_only_preactivation" and isinstance(self.downsample, nn.Sequential):
            x = x.relu()
        x = self.downsample(x)
        if self.unit == "scaled":
            return x * self.scaling[0]
        if gate is not None:
            return x * (1 - gate)
        return x if self.dropout is None else self.dropout(x)

    def _residual(self, x: Tensor, gate: Tensor | None) -> Tensor:
        if self.unit == "relu_only_preactivation":
            x = x.relu()
        for convolution, norm in self._pairs[:-1]:
            x = relu_(self.get_submodule(norm)(self.get_submodule(convolution)(x)))
        last, norm = self._pairs[-1]
        x = self.get_submodule(last)(x)
        if not self.normalises_sum:
            x = self.get_submodule(norm)(x)
        if self.unit == "relu_before_addition":
            return x.relu()
        if self.unit == "scaled":
            return x * self.scaling[1]
        return x if gate is None or self.unit != "exclusive_gating" else x * gate

    def _finish(self, total: Tensor) -> Tensor:
        """What stands behind the sum."""
        if self.normalises_sum:
            total = self.get_submodule(self._pairs[-1][1])(total)
        return total.relu() if self.activates_sum else total


def _basic_layers(in_channels: int, channels: int, stride: int, dilation: Dilation) -> list[nn.Conv2d]:
    first = conv3x3(in_channels, channels, stride, dilation=dilation[0])
    return [first, conv3x3(channels, channels, dilation=dilation[1])]


def _bottleneck_layers(
    in_channels: int, out_channels: int, stride: int, stride_on: StrideOn, dilation: Dilation
) -> list[nn.Conv2d]:
    channels = out_channels // 4
    stride1, stride2, dilation2 = strides_of_bottleneck(stride, stride_on, dilation)
    middle = conv3x3(channels, channels, stride2, dilation=dilation2)
    return [conv1x1(in_channels, channels, stride1), middle, conv1x1(channels, out_channels)]


def check_unit(
    unit: Any, scaling: Any, gate_bias: Any, *, zero_init_residual: bool
) -> tuple[Unit, tuple[float, float], float]:
    """The first three options, scaling as a tuple.

    Raises:
        OptionError: a value that none of them can have, or one that means nothing for this unit.
    """
    if unit == "full_preactivation":
        raise OptionError(
            "full pre-activation is a family of its own: leave out unit='full_preactivation' and take "
            "preact_resnet110_cifar, preact_resnet164_cifar or another depth"
        )
    check_choice("unit", unit, get_args(Unit))
    numbers = tuple(scaling) if isinstance(scaling, Sequence) and not isinstance(scaling, str) else ()
    if len(numbers) != 2 or not all(map(_is_finite, numbers)):
        raise OptionError(f"scaling must be two numbers, of shortcut and residual, got {scaling!r}")
    if not _is_finite(gate_bias):
        raise OptionError(f"gate_bias must be a number, got {gate_bias!r}")
    if numbers != SCALING and unit != "scaled":
        raise OptionError(f"scaling belongs to unit='scaled', not to {unit!r}; leave out scaling={scaling!r}")
    if gate_bias != GATE_BIAS and unit not in GATED:
        raise OptionError(
            f"gate_bias belongs to unit={' and '.join(map(repr, GATED))}, not to {unit!r}; "
            f"leave out gate_bias={gate_bias!r}"
        )
    if unit == "relu_before_addition" and zero_init_residual:
        raise OptionError(
            "zero_init_residual would leave unit='relu_before_addition' without a gradient, since its "
            "residuals end in a ReLU; leave out one of them"
        )
    return unit, (float(numbers[0]), float(numbers[1])), float(gate_bias)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
