"""Shattered gradients in random networks of one input (Balduzzi et al. 2017, §2 and §3).

Derivatives are taken at 256 points of [-2, 2] and compared with noise. A second experiment measures what the
theorems of the paper are about, the correlation of gradients at two points in many dimensions.

Three things decide whether anything shatters. Activations are centred over the points, without which all
units answer alike. Those statistics count as constants of the derivative. Residual networks begin with a
layer with biases, since of one dimension without biases a rectifier sees the sign alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from analysis.arrays import Arrays, to_arrays
from analysis.gradients import LAGS, autocorrelation
from training.progress.progress_bar import watched

WIDTH = 200  # rectifiers a layer
POINTS = 256  # on the line
CLOUD = 64  # independent points in many dimensions
EPS = 1e-5  # of batch normalisation, torch's
LINE_DEPTHS = (2, 5, 10, 24, 50)
CLOUD_DEPTHS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class RandomNet:
    """A network of random weights."""

    residual: bool = False  # blocks x + β W relu(x) instead of layers relu(W x)
    norm: bool = False  # residuals read normalised values; without it, centred ones
    beta: float = 1.0  # factor of the residuals


NETS = {
    "feed-forward": RandomNet(),
    "residual": RandomNet(residual=True),
    "residual, BN, β = 1": RandomNet(residual=True, norm=True),
    "residual, BN, β = 0.1": RandomNet(residual=True, norm=True, beta=0.1),
}


def derivatives(
    net: RandomNet,
    values: Tensor,
    tangents: Tensor,
    depths: Sequence[int],
    generator: torch.Generator,
    *,
    masks: Literal["rectifier", "independent"] = "rectifier",
) -> list[Tensor]:
    """Derivatives of every unit at several depths, along one direction of the input.

    Values and derivatives go forward together, so that one pass serves all depths.

    Args:
        values: (P, n) points, float64.
        tangents: (P, n) their derivatives.
        depths: numbers of layers or blocks, ascending.
        masks: "independent" lets chance decide which half of the units is active at a point, as the theorems
            assume.
    Returns:
        (P, WIDTH) each.
    """
    found = []
    for depth in range(1, depths[-1] + 1):
        before = values, tangents
        if net.residual:
            scale = (values.var(0, correction=0) + EPS).rsqrt() if net.norm else 1.0
            values, tangents = (values - values.mean(0)) * scale, tangents * scale
            values, tangents = _rectify(values, tangents, masks, generator)
        values, tangents = _linear(values, tangents, generator, net.beta)
        if net.residual:
            values, tangents = before[0] + values, before[1] + tangents
        else:
            values, tangents = _rectify(values - values.mean(0), tangents, masks, generator)
        if depth in depths:
            found.append(tangents)
    return found


def _linear(values: Tensor, tangents: Tensor, generator: torch.Generator, factor: float = 1.0) -> Any:
    """Weights of variance 2 / n (He et al. 2015, "Delving deep")."""
    n = values.shape[1]
    weights = torch.randn(n, WIDTH, generator=generator, dtype=torch.float64) * factor * math.sqrt(2 / n)
    return values @ weights, tangents @ weights


def _rectify(values: Tensor, tangents: Tensor, masks: str, generator: torch.Generator) -> Any:
    if masks == "rectifier":
        return values.relu(), tangents * (values > 0)
    active = torch.rand(values.shape, generator=generator) < 0.5
    return values * active, tangents * active


def on_line(net: RandomNet, depths: Sequence[int], seed: int) -> list[Tensor]:
    """(POINTS, WIDTH) derivatives of the units at each depth, at even points of [-2, 2]."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.linspace(-2, 2, POINTS, dtype=torch.float64)[:, None]
    slopes = torch.ones_like(points)
    if net.residual:
        points, slopes = _linear(points, slopes, generator)
        points = points + torch.randn(WIDTH, generator=generator, dtype=torch.float64)
        points, slopes = _rectify(points, slopes, "rectifier", generator)
    return derivatives(net, points, slopes, depths, generator)


def in_cloud(
    net: RandomNet, depths: Sequence[int], seed: int, masks: Literal["rectifier", "independent"]
) -> Tensor:
    """(D, 2) float64: mean square of a unit's derivative, and mean product at two unit normal points."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(CLOUD, WIDTH, generator=generator, dtype=torch.float64)
    direction = torch.randn(WIDTH, generator=generator, dtype=torch.float64).expand(CLOUD, -1)
    rows = []
    for found in derivatives(net, points, direction, depths, generator, masks=masks):
        products = found @ found.T / WIDTH
        own = products.diagonal().sum()
        rows.append(torch.stack([own / CLOUD, (products.sum() - own) / (CLOUD * (CLOUD - 1))]))
    return torch.stack(rows)


def noise(kind: Literal["white", "brown"], seed: int) -> Tensor:
    """(POINTS,) unit normal noise, or its running sum."""
    values = torch.randn(POINTS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values if kind == "white" else values.cumsum(0)


def measure_shattering(seeds: int) -> Arrays:
    """Both experiments, over so many random networks of each kind.

    Returns:
        "depths" and "cloud_depths"; "white" and "brown" (seeds, LAGS). Of each of `NETS`, under "<net>/…":
        "autocorrelation" (seeds, depths, LAGS) of a random combination of the last units on the line;
        "correlation" (depths, 64, 64) of the units' derivatives between every fourth of its points;
        "cloud" and "cloud, independent" (seeds, depths, 2), see `in_cloud`.
    """
    each = range(seeds)
    tensors: dict[str, Tensor] = {}
    for name, net in watched(NETS.items(), len(NETS), unit="kind", title="random networks"):
        curves, products = [], torch.zeros(len(LINE_DEPTHS), POINTS, POINTS, dtype=torch.float64)
        for one in each:
            found = torch.stack(on_line(net, LINE_DEPTHS, one))
            # Not the network's own generator: its first numbers are the first layer's weights.
            readout = np.random.default_rng(one).standard_normal((len(LINE_DEPTHS), WIDTH, 1))
            read = (found @ torch.from_numpy(readout))[..., 0]
            curves.append(torch.stack([autocorrelation(values, LAGS) for values in read]))
            products += found @ found.mT
        shown = products[:, ::4, ::4]
        sizes = shown.diagonal(dim1=1, dim2=2).sqrt()
        tensors[f"{name}/autocorrelation"] = torch.stack(curves)
        tensors[f"{name}/correlation"] = shown / (sizes[:, :, None] * sizes[:, None])
        tensors[f"{name}/cloud"] = torch.stack([in_cloud(net, CLOUD_DEPTHS, s, "rectifier") for s in each])
        tensors[f"{name}/cloud, independent"] = torch.stack(
            [in_cloud(net, CLOUD_DEPTHS, s, "independent") for s in each]
        )
    for kind in ("white", "brown"):
        tensors[kind] = torch.stack([autocorrelation(noise(kind, s), LAGS) for s in each])
    return {"depths": np.array(LINE_DEPTHS), "cloud_depths": np.array(CLOUD_DEPTHS), **to_arrays(tensors)}


def cloud_correlation(arrays: Arrays, name: str) -> Any:
    """(depths,) correlation of derivatives at two points: mean product over mean square, of all seeds."""
    squares, products = arrays[name].mean(axis=0).T
    return products / squares


def fit_ratio(depths: Any, correlations: Any) -> float:
    """r of the law r^L, by least squares of the logarithms, without those below 1 %, which are noise."""
    kept = correlations > 0.01
    return float(np.exp((depths[kept] * np.log(correlations[kept])).sum() / (depths[kept] ** 2).sum()))


def fit_power(depths: Any, correlations: Any) -> float:
    """p of the law c L^p, by least squares of the logarithms, from four blocks on."""
    kept = depths >= 4
    return float(np.polyfit(np.log(depths[kept]), np.log(correlations[kept]), 1)[0])


def summarise_shattering(arrays: Arrays) -> dict[str, Any]:
    """Autocorrelations, mean and deviation over seeds, and the laws fitted to the decay with depth."""
    found: dict[str, Any] = {name: _at_lags(arrays[name]) for name in ("white", "brown")}
    depths = arrays["cloud_depths"]
    for name, net in NETS.items():
        curves = arrays[f"{name}/autocorrelation"]
        laws = {}
        for cloud in ("cloud", "cloud, independent"):
            values = cloud_correlation(arrays, f"{name}/{cloud}")
            law = ("power of L", fit_power) if net.norm else ("ratio a layer", fit_ratio)
            laws[f"{cloud}: {law[0]}"] = law[1](depths, values)
        at = {f"L = {depth}": _at_lags(curves[:, i]) for i, depth in enumerate(arrays["depths"].tolist())}
        found[name] = at | laws
    return found


def _at_lags(curves: Any) -> dict[str, list[float]]:
    """Mean, deviation and median over seeds."""
    values = {f"lag {lag}": curves[:, lag] for lag in (1, 5, 15)}
    return {lag: [float(x.mean()), float(x.std()), float(np.median(x))] for lag, x in values.items()}
