"""Theoretical receptive fields: which pixels a cell of a map is computed from, whatever the weights are.

They are found without a word about any architecture. A strip of zeros whose first or last columns are NaN
passes the network, in which every convolution gives NaN where its window meets one, and 0 elsewhere. All
other operations run as they are, and hand NaN on from each of their inputs. So a cell is NaN if it is
computed from one of those columns, by whichever of a block's branches, and bisection finds the first and the
last column that it is computed from. Tests hold this to the closed form for chains: a layer of kernel k and
dilation d on a map of stride j adds (k - 1) · d · j.

Windows count with the holes that dilation leaves in them, which moves neither end of a field. Then what holes
a field has are left by strides and narrower than the largest, so that a field that goes on beyond the strip
shows within that distance of its border.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from backbones.features import FeatureNetwork

# Normalised pictures (N, 3, H, W) → maps (N, C, h, w) by name.
Maps = Callable[[Tensor], Mapping[str, Tensor]]
LEAST_HEIGHT = 8  # pixels of a strip, which is as high as the largest stride
LONGEST = 2**13  # pixels of the longest strip; what is wider counts as the whole picture


class Field(NamedTuple):
    """What a cell sees along a picture's width.

    Attributes:
        stride: of the map, pixels.
        size: pixels, from the first to the last; infinite where it is the whole picture.
        offset: pixels from the cell's place, its number times the map's stride, to the middle of the field;
            0 is where anchors are. NaN of the whole picture.
    """

    stride: int
    size: float
    offset: float


def find_fields(maps: Maps, strides: Mapping[str, int], device: torch.device) -> dict[str, Field]:
    """The field of the cell in the middle of each map.

    Where maps are enlarged, as in pyramids, it differs from cell to cell by the cells of coarser maps that
    the neighbours fall into; elsewhere it is the same for all that see no border.

    Args:
        maps: what computes the maps, in evaluation mode, on the device.
        strides: of each map that is asked for.
    """
    height = max(LEAST_HEIGHT, *strides.values())
    width = 8 * height
    found: dict[str, Field] = {}
    while len(found) < len(strides) and width <= LONGEST:
        strip = _Strip(maps, height, width, device)
        for name in strides.keys() - found.keys():
            if not strip.sees(0, height)[name] and not strip.sees(width - height, width)[name]:
                found[name] = strip.field(name, strides[name])
        width *= 2
    return {name: found.get(name, Field(stride, math.inf, math.nan)) for name, stride in strides.items()}


def find_offsets(features: FeatureNetwork) -> dict[str, float]:
    """Of each map of a network the offset of its cells' fields, 0 where each sees the whole picture.

    Args:
        features: in evaluation mode.
    """
    strides = {name: spec.stride for name, spec in features.feature_specs.items()}
    fields = find_fields(features, strides, next(features.parameters()).device)
    return {name: field.offset if math.isfinite(field.size) else 0.0 for name, field in fields.items()}


class _Strip:
    """A strip of zeros that passes the network again and again, other columns poisoned each time."""

    def __init__(self, maps: Maps, height: int, width: int, device: torch.device) -> None:
        self.maps, self.width = maps, width
        self.zeros = torch.zeros(1, 3, height, width, device=device)
        self.middle: dict[str, int] = {}  # the middle cell's number, of each map
        self.sees = cache(self._sees)

    @torch.inference_mode()
    def _sees(self, begin: int, end: int) -> dict[str, bool]:
        """Whether the middle cell of each map is computed from any of the columns begin … end - 1."""
        poisoned = self.zeros.clone()
        poisoned[..., begin:end] = torch.nan
        with _Reach():
            found = self.maps(poisoned)
        self.middle = {name: values.shape[3] // 2 for name, values in found.items()}
        return {name: bool(middle_cells(values).isnan().any()) for name, values in found.items()}

    def field(self, name: str, stride: int) -> Field:
        """Of a map whose middle cell sees neither end of the strip."""
        columns = range(self.width)
        first = bisect_left(columns, True, key=lambda column: self.sees(0, column + 1)[name])
        behind = bisect_left(columns, True, key=lambda column: not self.sees(column, self.width)[name])
        return Field(stride, behind - first, (first + behind - 1) / 2 - self.middle[name] * stride)


def middle_cells(values: Tensor) -> Tensor:
    """(N, C) of maps (N, C, h, w), in the middle; of even sides the cell behind it."""
    return values[:, :, values.shape[2] // 2, values.shape[3] // 2]


class _Reach(TorchFunctionMode):
    """Within it convolutions give NaN where their windows meet one, and 0 elsewhere.

    Real ones would take long, and fast algorithms carry NaN from one window to the next. Without oneDNN there
    are no fused ones, in copies for inference, which would end NaN.
    """

    def __enter__(self) -> "_Reach":
        self.enabled = torch._C._get_mkldnn_enabled()
        torch._C._set_mkldnn_enabled(False)  # torch.backends.mkldnn.flags warns of TF32
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        torch._C._set_mkldnn_enabled(self.enabled)
        super().__exit__(*exception)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (_reach if func is torch.conv2d else func)(*args, **(kwargs or {}))


def _reach(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The arguments are those of `torch.conv2d`."""
    rows, columns = padding if isinstance(padding, tuple | list) else (padding, padding)
    poisoned = F.pad(x.unflatten(1, (groups, -1)).amax(2), (columns, columns, rows, rows))
    steps = dilation if isinstance(dilation, tuple | list) else (dilation, dilation)
    window = [step * (length - 1) + 1 for step, length in zip(steps, weight.shape[2:], strict=True)]
    met = F.max_pool2d(poisoned, window, stride)
    return (0 * met).repeat_interleave(len(weight) // groups, 1)
