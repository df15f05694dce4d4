"""Figures of reference are means over 20 seeds that others computed; ours must lie within their spread."""

import math

import numpy as np
import pytest
import torch

from analysis import shattering
from analysis.shattering import (
    NETS,
    cloud_correlation,
    derivatives,
    fit_power,
    fit_ratio,
    measure_shattering,
    noise,
)

LAGS = (1, 5, 15)


@pytest.fixture(scope="module")
def measured():
    return measure_shattering(20)


@pytest.mark.parametrize(
    ("name", "depth", "reference"),
    [
        ("feed-forward", 2, (0.975, 0.872, 0.635)),
        ("feed-forward", 10, (0.743, 0.252, -0.01)),
        ("feed-forward", 24, (0, 0, 0)),
        ("feed-forward", 50, (0, 0, 0)),
        ("residual, BN, β = 1", 50, (0.46, 0.08, 0.00)),
        ("residual, BN, β = 0.1", 50, (0.62, 0.40, 0.16)),
    ],
)
def test_autocorrelations_of_reference(name, depth, reference, measured):
    place = measured["depths"].tolist().index(depth)
    curves = measured[f"{name}/autocorrelation"][:, place, LAGS]
    assert (np.abs(curves.mean(axis=0) - reference) <= curves.std(axis=0)).all()


@pytest.mark.parametrize(
    ("kind", "reference"), [("white", (-0.01, -0.04, 0.01)), ("brown", (0.96, 0.83, 0.58))]
)
def test_noise_of_reference(kind, reference, measured):
    curves = measured[kind][:, LAGS]
    assert (np.abs(curves.mean(axis=0) - reference) <= curves.std(axis=0)).all()
    assert len(noise("white", 0)) == 256


def test_gradients_shatter_without_shortcuts_and_less_with_a_small_residual(measured):
    lag_1 = {name: measured[f"{name}/autocorrelation"][:, -1, 1].mean() for name in NETS}
    assert (
        abs(lag_1["feed-forward"]) < 0.1 < 0.3 < lag_1["residual, BN, β = 1"] < lag_1["residual, BN, β = 0.1"]
    )


def test_the_theorems(measured):
    # Feed-forward (1/2)^L, residual without normalisation (3/4)^L, with it about 1 / (β √L).
    depths = measured["cloud_depths"]

    def correlation(name):
        return cloud_correlation(measured, f"{name}/cloud, independent")

    np.testing.assert_allclose(correlation("feed-forward")[:4], [0.5, 0.25, 1 / 16, 1 / 256], atol=0.02)
    assert fit_ratio(depths, correlation("feed-forward")) == pytest.approx(0.5, abs=0.02)
    assert fit_ratio(depths, correlation("residual")) == pytest.approx(0.75, abs=0.02)
    assert fit_power(depths, correlation("residual, BN, β = 1")) == pytest.approx(-0.5, abs=0.1)
    for name, beta in (("residual, BN, β = 1", 1.0), ("residual, BN, β = 0.1", 0.1)):
        # Before block l the variance is s = 1 + β² (l - 1); the block adds β² to the mean square, and half of
        # that to the product of two points: the exact law, of which 1 / (β √L) is the limit.
        factors = []
        for block in range(1, 33):
            share = beta**2 / (1 + beta**2 * (block - 1))
            factors.append((1 + share / 2) / (1 + share))
        np.testing.assert_allclose(correlation(name), np.cumprod(factors)[depths - 1], atol=0.03)


@pytest.mark.parametrize("name", NETS)
def test_derivatives_are_autograds_with_fixed_statistics(name):
    net, depth = NETS[name], 4
    # None of eight even points is their mean, where rounding alone would decide which units are active.
    points = torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None] * torch.ones(3, dtype=torch.float64)
    direction = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64).expand(8, -1)
    if net.residual:
        points, direction = points.repeat(1, 67)[:, :200], direction.repeat(1, 67)[:, :200]
    (found,) = derivatives(net, points, direction, [depth], torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    steps = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    x = points + steps[:, None] * direction
    for _ in range(depth):
        y = x
        mean, deviation = y.mean(0).detach(), (y.var(0, correction=0) + 1e-5).sqrt().detach()
        if net.residual:
            y = ((y - mean) / deviation if net.norm else y - mean).relu()
        n = y.shape[1]
        weights = torch.randn(n, 200, generator=generator, dtype=torch.float64)
        y = y @ weights * (net.beta * math.sqrt(2 / n))
        x = x + y if net.residual else (y - y.mean(0).detach()).relu()
    expected = torch.stack(
        [torch.autograd.grad(x[:, i].sum(), steps, retain_graph=True)[0] for i in range(200)], 1
    )
    torch.testing.assert_close(found, expected)


def test_fits_of_exact_laws():
    depths = np.array([1, 2, 4, 8, 16, 32])
    assert fit_ratio(depths, 0.6**depths) == pytest.approx(0.6)
    assert fit_power(depths, 2 * depths**-0.7) == pytest.approx(-0.7)


def test_summary_says_mean_deviation_and_median(measured):
    summary = shattering.summarise_shattering(measured)
    curves = measured["feed-forward/autocorrelation"][:, 2, 5]
    expected = [curves.mean(), curves.std(), np.median(curves)]
    assert summary["feed-forward"]["L = 10"]["lag 5"] == pytest.approx(expected)
    assert summary["residual"]["cloud, independent: ratio a layer"] == pytest.approx(0.75, abs=0.02)
