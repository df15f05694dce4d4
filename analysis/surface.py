"""The loss around a network's weights, along random directions (Li et al. 2018)."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor, nn

from analysis.arrays import Arrays, Batches, check_pictures
from analysis.lesions import count_wrong
from backbones.norm import fold_batchnorm, folded_copy
from backbones.spec import Network
from foundation.errors import UserError
from training.config import require_between, require_positive
from training.progress.progress_bar import watched

Direction = dict[str, Tensor]  # what is added to the parameters of these names
Score = Callable[[nn.Module, Tensor, Tensor], Tensor]  # (S,) sums over the pictures of a batch
RADII = (0.25, 0.5, 1.0)  # of the reach, within which the largest loss is told


@dataclass(frozen=True)
class SurfaceOptions:
    """Where the loss is measured.

    Attributes:
        pictures: number of pictures whose mean loss it is; None takes all.
        points: along each direction, evenly spaced; odd, so that the network's own weights are among them (Li
            et al. 2018 take 51).
        reach: the farthest point of a direction; at 1 every filter has moved by its own length.
        dimensions: 2 for a plane, 1 for a line through its middle.
    """

    pictures: int | None = 500
    points: int = 21
    reach: float = 1.0
    dimensions: Literal[1, 2] = 2

    def __post_init__(self) -> None:
        require_positive(self, "pictures", "reach")
        require_between(self, 3, inf, "points")
        if self.points % 2 == 0:
            raise ValueError(
                f"points must be odd, so that the network's own weights are among them, got {self.points}"
            )


def draw_direction(network: nn.Module, generator: torch.Generator) -> Direction:
    """A random direction whose every filter is as long as the network's (Li et al. 2018, §4).

    A filter is what makes one output of a convolution or a linear layer. Parameters of one dimension, which
    are biases and those of normalisation, are left out. Unit normal numbers are drawn in the order of the
    parameters, so that networks of equal shapes have the same ones before each scales them to its filters.
    """
    direction = {}
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            drawn = torch.randn(weight.shape, generator=generator).to(weight)
            direction[name] = drawn * (_filter_norms(weight.detach()) / _filter_norms(drawn))
    return direction


def _filter_norms(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight, dim=tuple(range(1, weight.dim())), keepdim=True)


@torch.no_grad()
def fold_direction(network: Network, direction: Direction) -> Direction:
    """The direction of the network whose normalisation is folded that changes it as `direction` changes it.

    Statistics and the affine part of normalisation stay, so that folding is linear in the weights.
    """
    moved = copy.deepcopy(network)
    for name, values in direction.items():
        moved.get_parameter(name).copy_(values)
    folded = fold_batchnorm(moved)
    return {name: folded.get_parameter(name).detach() for name in direction}


class _Moving:
    """A network whose weights are moved along directions, and in the end are what they were, to the bit."""

    def __init__(self, network: nn.Module, directions: Sequence[Direction]) -> None:
        self._parts: list[tuple[nn.Parameter, Tensor, list[Tensor]]] = []
        for name in directions[0]:
            parameter, along = network.get_parameter(name), [direction[name] for direction in directions]
            self._parts.append((parameter, parameter.detach().clone(), along))

    def __enter__(self) -> "_Moving":
        return self

    def __exit__(self, *exception: object) -> None:
        for parameter, before, _ in self._parts:
            parameter.copy_(before)

    def to(self, place: Sequence[float]) -> None:
        """Moves by these multiples of the directions away from where the weights were."""
        for parameter, before, directions in self._parts:
            moved = before
            for share, direction in zip(place, directions, strict=True):
                moved = torch.add(moved, direction, alpha=share)
            parameter.copy_(moved)


@torch.no_grad()
def sum_over_places(
    network: nn.Module,
    directions: Sequence[Direction],
    places: Sequence[Sequence[float]],
    batches: Batches,
    score: Score,
    *,
    begun: Arrays | None = None,
    keep: Callable[[Arrays], None] = lambda arrays: None,
) -> tuple[NDArray[np.float64], int]:
    """Sums over all pictures of what a score gives, with the weights at many places.

    Every batch is looked at from all places before the next one is read.

    Args:
        network: in evaluation mode; its weights are moved, and moved back in the end.
        directions: D of them, on the device of the network.
        places: P of D multiples of the directions.
        begun: what `keep` got last in a call that was stopped, with the same arguments otherwise.
        keep: is called with what has been summed, after every place and batch.
    Returns:
        (P, S) sums, and the number of pictures.
    Raises:
        UserError: a sum is not finite.
    """
    sums = begun["sums"].copy() if begun else None
    done = int(begun["done"]) if begun else 0  # batches times places
    pictures = 0
    with _Moving(network, directions) as weights:
        for number, (images, labels) in enumerate(batches):
            pictures += len(images)
            first = min(max(0, done - number * len(places)), len(places))
            rest = range(first, len(places))
            for index in watched(rest, len(places), start=first, unit="place", title="places"):
                weights.to(places[index])
                found = score(network, images, labels).double().cpu().numpy()
                if not np.isfinite(found).all():
                    weights.to([0.0] * len(directions))
                    own = bool(score(network, images, labels).isfinite().all())
                    remedy = "lower surface.reach" if own else "nor is the network's own; take other weights"
                    where = ", ".join(f"{share:g}" for share in places[index])
                    raise UserError(f"the loss at ({where}) is not finite; {remedy}")
                sums = np.zeros((len(places), len(found))) if sums is None else sums
                sums[index] += found
                done += 1
                keep({"sums": sums, "done": np.array(done)})
    check_pictures(pictures)
    assert sums is not None
    return sums, pictures


def loss_and_errors(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """(2,) float64: cross-entropy and the number of wrong answers, summed over a batch."""
    logits = network(images)
    loss = F.cross_entropy(logits.double(), labels, reduction="sum")
    return torch.stack([loss, count_wrong(logits, labels).double()])


def measure_surface(
    network: Network,
    batches: Batches,
    options: SurfaceOptions,
    seed: int,
    *,
    begun: Arrays | None = None,
    keep: Callable[[Arrays], None] = lambda arrays: None,
) -> Arrays:
    """Loss and error on a plane through the weights, or on a line.

    Batch normalisation keeps the statistics of the trained network everywhere, as in the code of Li et al.
    2018, so that it can be folded; biases and its scale and shift do not move.

    Args:
        network: a classifier in evaluation mode; it is not changed.
        batches: (N, 3, H, W) normalised pictures and labels (N,).
        seed: of the directions; see `draw_direction`.
        begun, keep: as in `sum_over_places`.
    Returns:
        "x" (X,) and "y" (Y,) multiples of the directions, "y" only 0 on a line; float64 (Y, X) "loss", the
        mean cross-entropy, and "error", top-1 in per cent; "classes" and "pictures".
    Raises:
        UserError: no pictures, or a loss that is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    folded = folded_copy(network)
    half = options.points // 2
    x = np.arange(-half, half + 1) * (options.reach / half)
    y = x if options.dimensions == 2 else np.zeros(1)
    places = [(a, b)[: options.dimensions] for b in y.tolist() for a in x.tolist()]
    directions = [
        fold_direction(network, draw_direction(network, generator)) for _ in range(options.dimensions)
    ]
    sums, pictures = sum_over_places(
        folded, directions, places, batches, loss_and_errors, begun=begun, keep=keep
    )
    loss, errors = (sums / pictures).T.reshape(2, len(y), len(x))
    return {
        **{"x": x, "y": y, "loss": loss, "error": 100 * errors},
        "classes": np.array(network.options["num_classes"]),
        "pictures": np.array(pictures),
    }


def summarise_surface(arrays: Arrays) -> dict[str, Any]:
    """The loss at the weights and around them, and how the surface bends.

    "share_below_chance" is that of the points whose loss is below the logarithm of the number of classes;
    "bending_down" that of the second differences, along either direction, which are negative (of a convex
    surface none is); "minima" counts the points inside that are lower than all neighbours.
    """
    loss, x, y = arrays["loss"], arrays["x"], arrays["y"]
    distance = np.hypot(x, y[:, None]) / x[-1]
    middle = len(y) // 2, len(x) // 2
    bends = np.concatenate([np.diff(loss, 2, axis=axis).ravel() for axis in (0, 1)])
    return {
        "pictures": int(arrays["pictures"]),
        "loss": float(loss[middle]),
        "error": float(arrays["error"][middle]),
        "largest_loss": float(loss.max()),
        "largest_loss_within": {
            f"{radius * x[-1]:g}": float(loss[distance < radius + 1e-9].max()) for radius in RADII
        },
        "share_below_chance": float((loss < log(arrays["classes"])).mean()),
        "bending_down": float((bends < 0).mean()),
        "minima": count_minima(loss),
    }


def count_minima(loss: NDArray[np.float64]) -> int:
    """How many points of (Y, X) that are not on the edge are lower than all their neighbours; Y may be 1."""
    height = min(3, len(loss))
    windows = sliding_window_view(loss, (height, 3))
    middle = windows[..., height // 2, 1]
    higher = (windows > middle[..., None, None]).sum((-2, -1))
    return int((higher == 3 * height - 1).sum())
