"""How gradients change along a line between two pictures (Balduzzi et al. 2017, on real networks)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.arrays import Arrays, Batches, check_pictures, to_arrays
from analysis.networks.chain import Chain
from backbones.spec import Network
from foundation.errors import UserError
from training.config import require_between, require_positive

LAGS = 16  # of the autocorrelation, from 0 on
AT_ONCE = 64  # points of a line that pass the network together


@dataclass(frozen=True)
class GradientsOptions:
    """Where gradients are taken.

    Attributes:
        lines: lines from one picture to another.
        points: points of a line, evenly spaced.
        depths: blocks, at most, behind which gradients begin: spread evenly, and the last among them.
    """

    lines: int = 10
    points: int = 256
    depths: int = 9

    def __post_init__(self) -> None:
        require_positive(self, "lines", "depths")
        require_between(self, LAGS + 1, 2**16, "points")


def measure_gradients(network: Network, batches: Batches, options: GradientsOptions, seed: int) -> Arrays:
    """Autocorrelation of gradients at the picture along lines from one picture to another.

    It is measured behind several blocks; what is derived is a fixed random combination of the block's mean
    channels.

    Args:
        network: in evaluation mode.
        batches: (N, 3, H, W) normalised pictures, two for each line, and labels, which are not looked at.
        seed: of the combinations.
    Returns:
        "blocks" (D,) names and "depths" (D,) how many blocks lie between; "autocorrelation" (lines, D, LAGS)
        float64, 1 at lag 0; "step" (lines,) distance between neighbouring points; "lines".
    Raises:
        OptionError: the network has no blocks.
        UserError: fewer than two pictures.
    """
    chain = Chain(network)
    last = len(chain) - 1
    spread = np.linspace(0, last, min(options.depths, len(chain)))
    places = sorted({*map(round, spread), last})  # the last is among them
    generator = torch.Generator().manual_seed(seed)
    pictures = _first(batches, 2 * options.lines)
    if len(pictures) < 2:
        raise UserError("a line runs between two pictures, and there is one; choose another data.val_split")
    pairs = pictures[: len(pictures) // 2 * 2].unflatten(0, (-1, 2))
    found, steps = [], []
    for start, end in pairs.unbind(0):
        share = torch.linspace(0, 1, options.points, device=start.device)[:, None, None, None]
        gradients = _autocorrelations(chain, torch.lerp(start, end, share), places, generator)
        found.append(torch.stack(gradients))
        steps.append((end - start).norm() / (options.points - 1))
    return {
        "blocks": np.array([chain.names[place] for place in places]),
        "depths": np.array(places) + 1,
        **to_arrays({"autocorrelation": torch.stack(found), "step": torch.stack(steps)}),
        "lines": np.array(len(pairs)),
    }


def _first(batches: Batches, count: int) -> Tensor:
    """At most so many pictures."""
    found: list[Tensor] = []
    for images, _ in batches:
        found.append(images)
        if sum(map(len, found)) >= count:
            break
    check_pictures(len(found))
    return torch.cat(found)[:count]


def _autocorrelations(
    chain: Chain, points: Tensor, places: list[int], generator: torch.Generator
) -> list[Tensor]:
    """Per place (LAGS,) of the gradients at the points of what comes out of the block there."""
    directions: dict[int, Tensor] = {}
    parts = {place: _Products(LAGS) for place in places}
    for images in points.split(AT_ONCE):
        x = images.clone().requires_grad_()
        for place, y in enumerate(chain.outputs(chain.enter(x, 0))):
            if place in parts:
                if place not in directions:
                    directions[place] = torch.randn(y.shape[1], generator=generator).to(y)
                value = (y.mean((2, 3)) @ directions[place]).sum()
                (gradient,) = torch.autograd.grad(value, x, retain_graph=place < max(places))
                parts[place].add(gradient.flatten(1).double())
    return [parts[place].autocorrelation() for place in places]


class _Products:
    """What the autocorrelation of a long sequence of vectors needs, from parts of it one after the other.

    With S the sum over all points and m = S / P, Σ (g_t − m)(g_{t+k} − m) over P − k terms is
    Σ g_t g_{t+k} − m · (2 S − the first k − the last k) + (P − k) m².
    """

    def __init__(self, lags: int) -> None:
        self.products: list[Any] = [0.0] * lags
        self.total: Any = 0.0
        self.count = 0
        self.first = self.last = torch.empty(0)  # of the sequence, as many as the longest lag

    def add(self, values: Tensor) -> None:
        """The next (p, C) float64."""
        longest = len(self.products) - 1
        if not self.count:
            self.first = self.last = values[:0]
        joined = torch.cat([self.last, values])
        for lag in range(longest + 1):
            partners = joined[max(0, len(self.last) - lag) : max(0, len(joined) - lag)]
            self.products[lag] = self.products[lag] + (partners * values[len(values) - len(partners) :]).sum()
        self.total, self.count = self.total + values.sum(0), self.count + len(values)
        self.first = torch.cat([self.first, values[: longest - len(self.first)]])
        self.last = joined[max(0, len(joined) - longest) :]

    def autocorrelation(self) -> Tensor:
        """(lags,) float64."""
        mean = self.total / self.count
        centred = []
        for lag, product in enumerate(self.products):
            edges = self.first[:lag].sum(0) + self.last[len(self.last) - lag :].sum(0)
            size = (self.count - lag) * mean.square().sum()
            centred.append(product - mean @ (2 * self.total - edges) + size)
        found = torch.stack(centred)
        # What is left of a sequence that never changes is rounding.
        changes = found[0] > 1e-12 * self.products[0]
        return torch.where(changes, found / found[0], 1.0)


def autocorrelation(sequence: Tensor, lags: int) -> Tensor:
    """(lags,) float64 of vectors (P, C) or numbers (P,) one behind the other, from lag 0 on.

    The mean is subtracted; every lag is divided by the sum over all points (Box and Jenkins), so that long
    lags are drawn towards zero. A sequence that never changes gives ones.
    """
    whole = _Products(lags)
    whole.add(sequence.detach().double().view(len(sequence), -1))
    return whole.autocorrelation()


def summarise_gradients(arrays: Arrays) -> dict[str, Any]:
    """Autocorrelations of the deepest gradient, means over lines, and lag 1 behind each block."""
    mean = arrays["autocorrelation"].mean(axis=0)
    return {
        "lines": int(arrays["lines"]),
        "blocks": int(arrays["depths"][-1]),
        "autocorrelation": {f"lag {lag}": float(mean[-1, lag]) for lag in (1, 5, 15)},
        "lag_1_behind": dict(zip(arrays["blocks"].tolist(), mean[:, 1].tolist(), strict=True)),
    }
