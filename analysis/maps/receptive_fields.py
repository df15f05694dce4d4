"""Effective receptive fields (Luo et al. 2016): how much each pixel counts, beside what could count."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analysis.arrays import Arrays, Batches, check_pictures, to_arrays
from analysis.signal import normal_inputs
from backbones.explain.theoretical_fields import Field, Maps, find_fields, middle_cells
from backbones.features import FeatureNetwork
from backbones.spec import Network
from foundation.errors import UserError
from training.config import require_positive

LEAST = 1 - 0.9545  # of the maximum, from which on a pixel counts (Luo et al. 2016, §3)
PIXELS_AT_ONCE = 2**17  # that pass the network together, since all maps are kept for the way back


@dataclass(frozen=True)
class ReceptiveOptions:
    """How receptive fields are measured.

    Attributes:
        pictures: number of pictures looked at; None takes all.
        noise: whether unit normal noise of the same size takes the pictures' place.
        side: height and width in pixels of what the network sees: larger pictures are cut, and smaller ones
            mirrored at their borders, so that no field ends there; None takes pictures as they are.
    """

    pictures: int | None = 20
    noise: bool = False
    side: int | None = None

    def __post_init__(self) -> None:
        require_positive(self, "pictures", "side")


def measure_receptive_fields(
    network: Network, batches: Batches, options: ReceptiveOptions, seed: int
) -> Arrays:
    """The receptive fields of every feature map of a classifier.

    Args:
        network: in evaluation mode.
        batches: (N, 3, H, W) normalised pictures, all of one size, and labels, which are not looked at.
        seed: of the noise.
    Returns:
        As `measure_fields`, of the network's features.
    Raises:
        UserError: no pictures.
    """
    features = FeatureNetwork(network, list(network.feature_specs)).eval()
    strides = {name: spec.stride for name, spec in network.feature_specs.items()}
    if options.side is not None:
        batches = ((fit(images, options.side), labels) for images, labels in batches)
    if options.noise:
        batches = normal_inputs(batches, seed)
    fields = find_fields(features, strides, next(network.parameters()).device)
    return measure_fields(features, fields, (images for images, _ in batches))


def measure_fields(maps: Maps, fields: Mapping[str, Field], pictures: Iterable[Tensor]) -> Arrays:
    """Effective receptive fields of the cells in the middle of maps, beside the theoretical ones.

    The gradient begins at 1 at the cell, for each of its channels, as that of their sum. Luo et al. 2016
    leave signs as they are and average over random weights; here there is one network, whose signed
    gradients would cancel each other over channels and pictures, so a pixel counts the absolute values of
    its three colours' gradients, and the mean over pictures is taken.

    Args:
        maps: what computes the maps, in evaluation mode.
        fields: of each map that is asked for, as `find_fields` gives them.
        pictures: batches (N, 3, H, W), normalised, all of one size.
    Returns:
        Of F maps: "features" names; "stride"; "theoretical" pixels a side, infinite where it is the whole
        picture, and its "offset" (see `Field`); "effective", the square root of the number of pixels above
        4.55 % of the largest; "four_sigma", four deviations of a pixel's place, weighted by its share;
        "place" (F, 2), the row and column of the cell's place. Under "gradient/<feature>" (H, W) float64
        shares, which add up to 1; "pictures".
    Raises:
        UserError: no pictures, or no gradient reaches them.
    """
    sums: dict[str, Tensor] = {}
    places: dict[str, list[int]] = {}
    count = 0
    for batch in pictures:
        for images in batch.split(max(1, PIXELS_AT_ONCE // batch[0, 0].numel())):
            for name, gradient, cell in _gradients(maps, list(fields), images):
                sums[name] = sums.get(name, torch.zeros_like(gradient)) + gradient
                places[name] = [number * fields[name].stride for number in cell]
        count += len(batch)
    check_pictures(count)
    for name, values in sums.items():
        if not values.any():
            raise UserError(f"no gradient leads from the middle of {name} to the pictures; give more of them")
    gradients = to_arrays({name: values / values.sum() for name, values in sums.items()})
    strides, sizes, offsets = zip(*fields.values(), strict=True)
    return {
        "features": np.array(list(fields)),
        "stride": np.array(strides),
        "theoretical": np.array(sizes, dtype=float),
        "offset": np.array(offsets),
        "effective": np.array([effective_side(gradients[name]) for name in fields]),
        "four_sigma": np.array([four_sigma(gradients[name]) for name in fields]),
        "place": np.array([places[name] for name in fields]),
        **{f"gradient/{name}": values for name, values in gradients.items()},
        "pictures": np.array(count),
    }


def _gradients(maps: Maps, names: list[str], images: Tensor) -> Iterator[tuple[str, Tensor, tuple[int, int]]]:
    """Of each map absolute gradients (H, W) float64, summed over pictures and colours, and the cell."""
    images = images.detach().requires_grad_()
    values = maps(images)
    for name in names:
        height, width = values[name].shape[2:]
        (gradient,) = torch.autograd.grad(middle_cells(values[name]).sum(), images, retain_graph=True)
        yield name, gradient.abs().sum(1).double().sum(0), (height // 2, width // 2)


def fit(images: Tensor, side: int) -> Tensor:
    """Pictures (N, C, H, W) as squares around their middle, cut or mirrored at their borders."""
    for axis in (2, 3):
        length = images.shape[axis]
        places = (torch.arange(side, device=images.device) - (side - length) // 2) % (2 * length)
        images = images.index_select(axis, torch.minimum(places, 2 * length - 1 - places))
    return images


def effective_side(gradient: NDArray[np.float64]) -> float:
    """Luo's size in pixels: the side of a square of as many pixels as are above 4.55 % of the largest."""
    return math.sqrt(np.count_nonzero(gradient > LEAST * gradient.max()))


def four_sigma(gradient: NDArray[np.float64]) -> float:
    """Four standard deviations of a pixel's place, in pixels: of a Gaussian, where 95.45 % of it lies.

    The mean of the variances down and across is taken.
    """
    variances = []
    for axis in (0, 1):
        shares = gradient.sum(axis=1 - axis) / gradient.sum()
        places = np.arange(len(shares))
        variances.append(shares @ (places - shares @ places) ** 2)
    return 4 * math.sqrt(np.mean(variances))


def summarise_receptive_fields(arrays: Arrays) -> dict[str, Any]:
    """Of each map the stride, the theoretical field and its offset, and both effective sizes."""
    height, width = arrays[f"gradient/{arrays['features'][0]}"].shape
    rows = []
    for place, name in enumerate(arrays["features"].tolist()):
        size = float(arrays["theoretical"][place])
        row: dict[str, Any] = {"map": name, "stride": int(arrays["stride"][place])}
        if math.isinf(size):
            row["theoretical"] = "the whole picture"
        else:
            row |= {"theoretical": int(size), "offset": float(arrays["offset"][place])}
        rows.append(row | {size: float(arrays[size][place]) for size in ("effective", "four_sigma")})
    return {"pictures": int(arrays["pictures"]), "seen": f"{height} x {width} pixels", "fields": rows}
