"""A residual network as an ensemble of paths (Veit et al. 2016, §3 and §5): which lengths carry gradient.

Through each of B blocks the gradient goes back by the residual or by the shortcut, so that it is a sum over
2^B paths. That is exact with and without a ReLU behind the addition: on the way back ReLUs multiply by zeros
and ones that the forward pass has fixed. The forward pass itself unravels only without those ReLUs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.arrays import Arrays, Batches, check_pictures, to_arrays
from analysis.networks.chain import Chain
from analysis.signal import dot
from backbones.spec import Network
from foundation.errors import UserError
from training.config import require_between, require_positive

ENUMERATED = 10  # blocks up to which all 2^B paths are followed


@dataclass(frozen=True)
class PathsOptions:
    """How many paths are followed.

    Attributes:
        samples: paths of each length, each for a picture of its own (Veit et al. 2016 take 1,000); with at
            most `ENUMERATED` blocks all paths are followed, for as many pictures.
        mass: share of the gradient that the effective range of lengths holds.
    """

    samples: int = 1000
    mass: float = 0.95

    def __post_init__(self) -> None:
        require_positive(self, "samples")
        require_between(self, 0, 1, "mass")


class _Back:
    """One batch's way back through a chain.

    Gradients stand at the outputs of blocks; before the first block, at its input.

    Attributes:
        start: (N, C, h, w) gradient at the last block's output; see `Chain.last_gradient`.
    """

    def __init__(self, chain: Chain, images: Tensor, labels: Tensor) -> None:
        self.chain = chain
        with torch.no_grad():
            x = chain.enter(images, 0)
            self.values = [x, *chain.outputs(x)]  # before block 0, and behind each block
        self.start = chain.last_gradient(self.values[-1], labels)

    def through(
        self, place: int, gradients: Sequence[Tensor], *, residual: bool, of: Tensor | None = None
    ) -> list[Tensor]:
        """Gradients behind a block → what of them comes out before it by one of its terms.

        Args:
            residual: by the residual, else by the shortcut.
            of: (n,) the pictures whose gradients they are; all if None.
        """
        block = self.chain.block(place)
        before, behind = (x.detach() if of is None else x[of] for x in self.values[place : place + 2])
        if block.activates_sum:
            passes = behind > 0
            gradients = [gradient * passes for gradient in gradients]
        if not residual and self.chain.is_identity(place):
            return list(gradients)
        before.requires_grad_()
        with torch.enable_grad():
            terms = block.terms(self.chain.enter(before, place) if place else before)
        return [
            torch.autograd.grad(terms[residual], before, gradient, retain_graph=True)[0]
            for gradient in gradients
        ]


def measure_paths(network: Network, batches: Batches, seed: int) -> Arrays:
    """Size of the gradient that single paths carry, and what all paths of a length carry together.

    Gradients are those at the first block's input of `Chain.last_gradient`.

    Args:
        network: in evaluation mode.
        batches: (N, 3, H, W) normalised pictures and labels (N,); each picture follows one random path of
            each length, or with at most `ENUMERATED` blocks every path.
        seed: of the choice of paths.
    Returns:
        Of the lengths 0 … B, counted in residuals, float64: "norm" the mean length of a path's gradient (as a
        vector) and its standard deviation over paths and pictures "deviation"; "share" of the whole gradient
        that all paths of the length make together, by its projection, adding up to one (by recursion over
        the blocks, without sampling); "sampled" how many paths "norm" is a mean over; "sum_error" the largest
        difference of the sum over all lengths from autograd's gradient, relative to its size; "pictures".
    Raises:
        OptionError: the network has no shortcuts.
        UserError: no pictures.
    """
    chain = Chain(network)
    chain.require_sums()
    rng = np.random.default_rng(seed)
    totals: list[Tensor] = []
    errors: list[Tensor] = []
    pictures = 0
    for images, labels in batches:
        back = _Back(chain, images, labels)
        by_length = _sums_by_length(back)
        whole = torch.stack(by_length).sum(0)
        errors.append(_difference(back, whole))
        if len(chain) <= ENUMERATED:
            norms = _all_norms(back)
        else:
            drawn = (_draw_paths(rng, len(images), len(chain), length) for length in range(len(chain) + 1))
            norms = [_norms_along(back, paths) for paths in drawn]
        sums_of_norms = [torch.stack([n.new_tensor(len(n)), n.sum(), n.square().sum()]) for n in norms]
        shares = torch.stack([dot(part, whole) for part in by_length])
        totals.append(torch.cat([shares[None], torch.stack(sums_of_norms, 1).to(shares)]))
        pictures += len(images)
    check_pictures(pictures)
    shares, counts, sums, squares = torch.stack(totals).sum(0)
    mean = sums / counts
    return {
        **to_arrays(
            {
                "norm": mean,
                "deviation": (squares / counts - mean.square()).clamp(min=0).sqrt(),
                "share": shares / shares.sum(),
                "sampled": counts,
                "sum_error": torch.stack(errors).max(),
            }
        ),
        "pictures": np.array(pictures),
    }


def _difference(back: _Back, whole: Tensor) -> Tensor:
    """How far the sum over all paths is from autograd's gradient, relative to the largest of it."""
    x = back.values[0].detach().requires_grad_()
    *_, y = back.chain.outputs(x)
    (expected,) = torch.autograd.grad(y, x, back.start)
    return ((whole - expected).abs().max() / expected.abs().max()).double()


def _sums_by_length(back: _Back) -> list[Tensor]:
    """The sum of the gradients of all paths of each length, exactly: a recursion over the blocks."""
    sums = [back.start]
    for place in reversed(range(len(back.chain))):
        kept, longer = (back.through(place, sums, residual=residual) for residual in (False, True))
        sums = [kept[0], *map(torch.add, kept[1:], longer[:-1]), longer[-1]]
    return sums


def _all_norms(back: _Back) -> list[Tensor]:
    """Lengths of the gradients of every path and picture, by the path's length."""
    found: list[list[Tensor]] = [[] for _ in range(len(back.chain) + 1)]

    def follow(place: int, gradient: Tensor, length: int) -> None:
        if place < 0:
            found[length].append(_lengths(gradient))
            return
        for residual in (False, True):
            (before,) = back.through(place, [gradient], residual=residual)
            follow(place - 1, before, length + residual)

    follow(len(back.chain) - 1, back.start, 0)
    return [torch.cat(norms) for norms in found]


def _draw_paths(rng: np.random.Generator, pictures: int, blocks: int, length: int) -> Tensor:
    """(N, B) bool: of each picture `length` random blocks."""
    order = rng.permuted(np.tile(np.arange(blocks), (pictures, 1)), axis=1)
    return torch.from_numpy(order < length)


def _norms_along(back: _Back, paths: Tensor) -> Tensor:
    """(N,) lengths of the gradients along one path a picture; paths (N, B) bool, whether by the residual."""
    gradient = back.start
    for place in reversed(range(len(back.chain))):
        before = torch.zeros_like(back.values[place])
        for residual in (False, True):
            of = (paths[:, place] == residual).nonzero()[:, 0].to(gradient.device)
            if len(of):
                (before[of],) = back.through(place, [gradient[of]], residual=residual, of=of)
        gradient = before
    return _lengths(gradient)


def _lengths(gradient: Tensor) -> Tensor:
    """(N,) Euclidean norms; in double, since the squares of what long paths carry are too small for float."""
    return gradient.double().flatten(1).norm(dim=1)


def share_of_paths(blocks: int, low: int, high: int) -> float:
    """Share of the 2^blocks paths that go by low … high residuals.

    Of the 54 blocks of a 110-layer network 5 … 17 hold 0.4537 % (Veit et al. 2016, §5: "0.45 %").
    """
    return sum(comb(blocks, k) for k in range(low, high + 1)) / 2**blocks


def effective_range(norms: Sequence[float], mass: float) -> tuple[int, int]:
    """The first of the shortest ranges of lengths, of 0 … B, whose paths hold `mass` of the gradients."""
    weights = path_weights(norms)
    reached = np.concatenate([[0.0], np.cumsum(weights)])
    ranges = [
        (high - low, low, high)
        for low in range(len(weights))
        for high in range(low, len(weights))
        if reached[high + 1] - reached[low] >= mass - 1e-12
    ]
    _, low, high = min(ranges)
    return low, high


def path_weights(norms: Sequence[float]) -> NDArray[np.float64]:
    """(B+1,) number of paths of each length times the mean size of their gradients, adding up to one."""
    blocks = len(norms) - 1
    products = np.array([comb(blocks, k) * (norm / 2**blocks) for k, norm in enumerate(norms)])
    return products / products.sum()


def summarise_paths(arrays: Arrays, mass: float) -> dict[str, Any]:
    """The effective range of lengths, its share of all paths, and what it carries together."""
    norms, share = arrays["norm"].tolist(), arrays["share"]
    if not sum(norms) > 0:
        raise UserError("the gradient is zero on all paths; give a network whose classifier is not")
    low, high = effective_range(norms, mass)
    weights = path_weights(norms)
    # What a residual more multiplies a gradient's size by: least squares of the logarithms.
    known = np.flatnonzero(arrays["norm"] > 0)
    slope = np.polyfit(known, np.log(arrays["norm"][known]), 1)[0] if len(known) > 1 else -np.inf
    return {
        "pictures": int(arrays["pictures"]),
        "blocks": len(norms) - 1,
        "paths_of_a_length": int(arrays["sampled"].min()),
        "mass": mass,
        "effective_range": [low, high],
        "share_of_paths": share_of_paths(len(norms) - 1, low, high),
        "signed_share": float(share[low : high + 1].sum()),
        "size_per_block": float(np.exp(slope)),
        "mean_length_by_gradient": float((weights * np.arange(len(weights))).sum()),
        "mean_length_by_number": (len(norms) - 1) / 2,
        "sum_error": float(arrays["sum_error"]),
    }
