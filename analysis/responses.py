"""Layer responses (He et al. 2015, §4.2, Figure 7): how strongly each 3x3 layer answers to pictures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.arrays import Arrays, Batches, check_pictures, to_arrays
from backbones.norm import folded_copy
from backbones.spec import Network
from training.config import require_positive


@dataclass(frozen=True)
class ResponsesOptions:
    """How responses are measured.

    Attributes:
        pictures: number of pictures looked at; None takes all.
    """

    pictures: int | None = None

    def __post_init__(self) -> None:
        require_positive(self, "pictures")


class _Moments:
    """Sums over all outputs of a layer; of each picture in the network's precision, of all in double."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        values = output.movedim(1, -1).flatten(1)  # no copy in channels_last
        self.count += values.numel()
        self.sums = self.sums + values.sum(1).double().sum()
        self.squares = self.squares + torch.linalg.vector_norm(values, dim=1).double().square().sum()


@torch.inference_mode()
def measure_responses(network: Network, batches: Batches) -> Arrays:
    """Mean and standard deviation of the output of every 3x3 layer, over pictures, places and channels.

    An output is what the paper looks at: after batch normalisation, before the nonlinearity or the addition.
    Folding normalisation makes it the output of the convolution itself. The last convolution of a
    pre-activation block has no normalisation behind it and counts as it is.

    Args:
        network: in evaluation mode.
        batches: (N, 3, H, W) normalised pictures, and labels, which are not looked at.
    Returns:
        "layers" (L,) names in the order of the network, "std" and "mean" (L,) float64, "pictures".
    Raises:
        UserError: no pictures.
    """
    folded = folded_copy(network)
    layers = {
        name: module
        for name, module in folded.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    }
    moments = {name: _Moments() for name in layers}
    for name, layer in layers.items():
        layer.register_forward_hook(moments[name].add)
    pictures = 0
    for images, _ in batches:
        folded(images)
        pictures += len(images)
    check_pictures(pictures)
    means = torch.stack([torch.as_tensor(m.sums) / m.count for m in moments.values()])
    squares = torch.stack([torch.as_tensor(m.squares) / m.count for m in moments.values()])
    variances = (squares - means.square()).clamp(min=0)
    return {
        "layers": np.array(list(layers)),
        **to_arrays({"mean": means, "std": variances.sqrt()}),
        "pictures": np.array(pictures),
    }


def summarise_responses(arrays: Arrays) -> dict[str, Any]:
    """The mean response over the layers, the largest, and the smallest."""
    std = arrays["std"]
    return {
        "pictures": int(arrays["pictures"]),
        "layers": len(std),
        "mean_std": float(std.mean()),
        "largest_std": float(std.max()),
        "smallest_std": float(std.min()),
    }
