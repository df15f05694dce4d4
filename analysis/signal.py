"""How signals pass through depth, forward and back (He et al. 2016, §2; Brock et al. 2021)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from analysis.arrays import Arrays, Batches, check_pictures, to_arrays
from analysis.networks.chain import Chain
from backbones.spec import Network
from foundation.errors import UserError
from training.config import require_positive


@dataclass(frozen=True)
class SignalOptions:
    """How signals are measured.

    Attributes:
        pictures: number of pictures looked at; None takes all.
        input: "normal" sends unit normal noise of the pictures' shape in their place, as timm does.
    """

    pictures: int | None = 1000
    input: Literal["pictures", "normal"] = "pictures"

    def __post_init__(self) -> None:
        require_positive(self, "pictures")


class _Pass(NamedTuple):
    """One batch through a chain: per block its input, terms and output, and gradients of the loss."""

    inputs: tuple[Tensor, ...]
    shortcuts: tuple[Tensor, ...]
    residuals: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    input_gradients: tuple[Tensor, ...]
    output_gradients: tuple[Tensor, ...]


def measure_signal(network: Network, batches: Batches) -> Arrays:
    """Sizes of the terms of each sum, and how much of a stage's output and gradient the identity makes.

    Within a stage, from a block's input x_l to the stage's output x_L, He et al. 2016 write x_L = x_l + ΣF
    and dE/dx_l = dE/dx_L (1 + d/dx_l ΣF). The share of a term is its projection on the sum, so that shares
    add up to one. Behind additions that a ReLU follows (the network of 2015) x_L = x_l + ΣF holds but for
    what the ReLUs cut off, whose share is what forward_identity and forward_residual leave of one; on
    the way back the identity's term is what passes all of these ReLUs.

    Args:
        network: in evaluation mode.
        batches: (N, 3, H, W) normalised pictures and labels (N,).
    Returns:
        Of B blocks, float64 but for the names: "blocks"; norms (root mean square over pictures) "shortcut",
        "residual" and "gradient" (at the block's input, see `Chain.last_gradient`); "cosine" of the terms.
        Share, cosine with the sum and norm over the sum's of the identity's term: "forward_identity",
        "forward_cosine", "forward_norm", "backward_identity", "backward_cosine", "backward_norm", and
        "forward_residual" the share of ΣF; NaN for blocks from which no identity leads to the stage's output.
        timm's "squared_mean" and "variance" of the channels of the block's output, and "residual_variance"
        before the addition; "pictures".
    Raises:
        OptionError: the network has no shortcuts.
        UserError: no pictures.
    """
    chain = Chain(network)
    chain.require_sums()
    sums: dict[str, Tensor] = {}
    channels: list[list[Tensor]] = [[], []]  # of outputs and of residuals
    pictures = 0
    for images, labels in batches:
        done = _run(chain, images, labels)
        for name, values in _products(chain, done).items():
            sums[name] = sums.get(name, torch.zeros_like(values)) + values
        for part, maps in enumerate((done.outputs, done.residuals)):
            new = [_channel_sums(m.detach()) for m in maps]
            channels[part] = list(map(torch.add, channels[part], new)) if channels[part] else new
        pictures += len(images)
    check_pictures(pictures)
    if not bool(sums["gradient"].sum() > 0):
        raise UserError("the gradient of the loss is zero; give a network whose classifier is not")
    (squared_mean, variance), (_, residual_variance) = map(_statistics, channels)
    statistics = {"squared_mean": squared_mean, "variance": variance, "residual_variance": residual_variance}
    return {
        "blocks": np.array(chain.names),
        **to_arrays(_shares(sums, pictures) | statistics),
        "pictures": np.array(pictures),
    }


def normal_inputs(batches: Batches, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Unit normal noise of the shape of each batch, and its labels."""
    generator = torch.Generator().manual_seed(seed)
    for images, labels in batches:
        yield torch.randn(images.shape, generator=generator).to(images), labels


def _run(chain: Chain, images: Tensor, labels: Tensor) -> _Pass:
    rows = []
    with torch.no_grad():
        x = chain.enter(images, 0)
    x.requires_grad_()
    for place in range(len(chain)):
        x = chain.enter(x, place) if place else x
        block = chain.block(place)
        shortcut, residual = block.terms(x)
        output = (shortcut + residual).relu() if block.activates_sum else shortcut + residual
        rows.append((x, shortcut, residual, output))
        x = output
    inputs, shortcuts, residuals, outputs = zip(*rows, strict=True)
    gradients = torch.autograd.grad(x, [*inputs, *outputs], chain.last_gradient(x, labels))
    halves = gradients[: len(chain)], gradients[len(chain) :]
    return _Pass(inputs, shortcuts, residuals, outputs, *halves)


def _products(chain: Chain, done: _Pass) -> dict[str, Tensor]:
    """Inner products summed over pictures, of every block: (B,) float64 each; NaN where no identity leads."""
    found: dict[str, list[Tensor]] = {
        "shortcut": [dot(s, s) for s in done.shortcuts],
        "residual": [dot(r, r) for r in done.residuals],
        "terms": [dot(s, r) for s, r in zip(done.shortcuts, done.residuals, strict=True)],
        "gradient": [dot(g, g) for g in done.input_gradients],
    }
    nothing = torch.full_like(found["shortcut"][0], torch.nan)
    for name in ("x", "x·out", "sum·out", "out", "path", "path·g"):
        found[name] = [nothing] * len(chain)
    for places in chain.stages.values():
        for place, residuals, passed in _identities(chain, done, places):
            x, out = done.inputs[place], done.outputs[places[-1]]
            gradient = done.input_gradients[place]
            found["x"][place], found["x·out"][place] = dot(x, x), dot(x, out)
            found["sum·out"][place], found["out"][place] = dot(residuals, out), dot(out, out)
            found["path"][place], found["path·g"][place] = dot(passed, passed), dot(passed, gradient)
    return {name: torch.stack(values) for name, values in found.items()}


def _identities(chain: Chain, done: _Pass, places: list[int]) -> Iterable[tuple[int, Tensor, Tensor]]:
    """From a stage's end back, while shortcuts are identities: place, ΣF, gradient along the shortcuts."""
    residuals: Tensor | float = 0.0
    passed = done.output_gradients[places[-1]]
    for place in reversed(places):
        if not chain.is_identity(place):
            return
        residuals = residuals + done.residuals[place]
        if chain.block(place).activates_sum:
            passed = passed * (done.outputs[place] > 0)
        yield place, residuals, passed


def _shares(sums: dict[str, Tensor], pictures: int) -> dict[str, Tensor]:
    gradient = sums["gradient"]
    return {
        "shortcut": (sums["shortcut"] / pictures).sqrt(),
        "residual": (sums["residual"] / pictures).sqrt(),
        "gradient": (gradient / pictures).sqrt(),
        "cosine": sums["terms"] / (sums["shortcut"] * sums["residual"]).sqrt(),
        "forward_identity": sums["x·out"] / sums["out"],
        "forward_residual": sums["sum·out"] / sums["out"],
        "forward_cosine": sums["x·out"] / (sums["x"] * sums["out"]).sqrt(),
        "forward_norm": (sums["x"] / sums["out"]).sqrt(),
        "backward_identity": sums["path·g"] / gradient,
        "backward_cosine": sums["path·g"] / (sums["path"] * gradient).sqrt(),
        "backward_norm": (sums["path"] / gradient).sqrt(),
    }


def _channel_sums(maps: Tensor) -> Tensor:
    """(3, C) float64 over pictures and places: the sum, the sum of squares and the number of values."""
    places = torch.full_like(maps[:, :, 0, 0], maps[0, 0].numel())
    return torch.stack([maps.sum((2, 3)), maps.square().sum((2, 3)), places]).double().sum(1)


def _statistics(channels: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Of each block the mean over channels of the squared mean, and of the unbiased variance."""
    squared, variances = [], []
    for sums, squares, count in channels:
        mean = sums / count
        squared.append(mean.square().mean())
        variances.append(((squares / count - mean.square()) * (count / (count - 1).clamp(min=1))).mean())
    return torch.stack(squared), torch.stack(variances)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of two maps, summed over a batch in double."""
    return (a.detach() * b.detach()).flatten(1).sum(1).double().sum()


def summarise_signal(arrays: Arrays) -> dict[str, Any]:
    """Means over blocks, and the gradient's norm at the first block's input."""
    names = ["cosine", "forward_identity", "forward_residual", "forward_cosine"]
    known = {n: arrays[n][~np.isnan(arrays[n])] for n in [*names, "backward_identity", "backward_cosine"]}
    means = {name: float(values.mean()) if len(values) else None for name, values in known.items()}
    return {
        "pictures": int(arrays["pictures"]),
        "blocks": len(arrays["blocks"]),
        "residual_over_shortcut": float((arrays["residual"] / arrays["shortcut"]).mean()),
        **means,
        "gradient_at_the_first_block": float(arrays["gradient"][0]),
    }
