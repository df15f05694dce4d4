"""The first convolution rewritten for other pictures, without changing what the network computes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from backbones.spec import InputSpec
from foundation.errors import OptionError


def rewrite_input(
    state: Mapping[str, Tensor], source: InputSpec, target: InputSpec, conv: str = "conv1.weight"
) -> dict[str, Tensor]:
    """Weights for pictures as target that give, to rounding, what state gives on pictures as source.

    Another order of colours exchanges the convolution's input channels, another range or deviation scales
    them. Another mean would need a bias that is absent where the zeros of the padding are read, so that
    the means must be the same colour.

    Args:
        state: name → tensor; in the result only conv, the first convolution, (C, 3, k, k), is another.
        source, target: the pictures that state was trained on, and that the result is for.
    Raises:
        OptionError: the means differ, or the first convolution is absent or not one of three channels.
    """
    if conv not in state or state[conv].ndim != 4 or state[conv].shape[1] != 3:
        raise OptionError(
            f"cannot rewrite the input: no convolution {conv} of three channels among the weights"
        )
    (mean_s, std_s), (mean_t, std_t) = _per_colour(source), _per_colour(target)
    if any(abs(mean_s[colour] - mean_t[colour]) > 1e-3 for colour in "RGB"):
        raise OptionError(
            f"cannot rewrite the input exactly: the means differ ({_said(mean_s)} and {_said(mean_t)} of "
            "255), and with zero padding no change of weights makes up for it; keep the network's own "
            "pictures, which the header of its file states"
        )
    columns = [source.order.index(colour) for colour in target.order]
    scale = torch.tensor([std_t[colour] / std_s[colour] for colour in target.order], dtype=torch.float64)
    weight = state[conv]
    rewritten = weight[:, columns].double() * scale.view(1, 3, 1, 1)
    return dict(state) | {conv: rewritten.to(weight.dtype)}


def same_pictures(first: InputSpec, second: InputSpec) -> bool:
    """Whether both give the same numbers, as 0–1 and 0–255 do with mean and deviation to match."""
    numbers = (sum(spec.scaled(255.0), ()) for spec in (first, second))
    return first.order == second.order and all(abs(a - b) <= 1e-3 for a, b in zip(*numbers, strict=True))


def _per_colour(spec: InputSpec) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and deviation by colour, in units of 0–255."""
    mean, std = (dict(zip(spec.order, values, strict=True)) for values in spec.scaled(255.0))
    return mean, std


def _said(mean: dict[str, float]) -> str:
    return ", ".join(f"{colour} {mean[colour]:.3f}" for colour in "RGB")
