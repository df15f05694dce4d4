"""Effective receptive fields: deep linear networks, whose fields are known, and conventions."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from analysis.maps.receptive_fields import (
    PIXELS_AT_ONCE,
    ReceptiveOptions,
    effective_side,
    fit,
    four_sigma,
    measure_fields,
    measure_receptive_fields,
    summarise_receptive_fields,
)
from backbones.explain.theoretical_fields import find_fields
from foundation.errors import UserError

CPU = torch.device("cpu")


def measured(module, pictures):
    def maps(images):
        return {"map": module(images)}

    return measure_fields(maps, find_fields(maps, {"map": 1}, CPU), pictures)


def uniform(depth: int) -> nn.Sequential:
    """So many 3x3 layers without biases, all weights 1/9."""
    layers = [nn.Conv2d(3 if i == 0 else 1, 1, 3, padding=1, bias=False) for i in range(depth)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1 / 9)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("depth", [1, 4, 10, 20])
def test_of_equal_kernels_variances_add_up(depth):
    # Along an axis a layer of equal weights moves by −1, 0 or 1 alike, with variance 2/3; layers are
    # independent, so that σ² = 2n/3 (Luo et al. 2016, §2.2), and the shape nears a Gaussian's.
    found = measured(uniform(depth), [torch.randn(2, 3, 64, 64)])
    assert found["theoretical"].tolist() == [2 * depth + 1]
    assert found["four_sigma"][0] == pytest.approx(4 * math.sqrt(2 * depth / 3), rel=1e-4)
    row = found["gradient/map"].sum(0)
    places = np.arange(64) - 32
    kurtosis = (row @ places**4) / (row @ places**2) ** 2
    # Of one step E x⁴ = E x² = 2/3, so kurtosis 3/2; of n steps the distance to the Gaussian's 3 falls by n.
    assert kurtosis == pytest.approx(3 - 1.5 / depth, rel=1e-4)
    # A Gaussian is above 4.55 % of its top within σ sqrt(2 ln 22): a disc, whose area's root is 4.41 σ.
    if depth == 20:
        assert found["effective"][0] == pytest.approx(4.41 * math.sqrt(2 * depth / 3), rel=0.03)


def test_one_layer_by_hand():
    layer = nn.Conv2d(3, 2, 3, padding=1, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 1], layer.weight[1, 0, 1, 1] = 3.0, -1.0  # together 2 at the middle
        layer.weight[0, 1, 1, 2] = -1.0  # counts 1 whatever its sign
        layer.weight[0, 2, 0, 0] = 0.09  # 4.5 % of 2: below Luo's limit
    found = measured(layer, [torch.randn(3, 3, 6, 6)])
    share = found["gradient/map"] * 3.09
    assert share[3, 3] == pytest.approx(2) and share[3, 4] == pytest.approx(1)
    assert share[2, 2] == pytest.approx(0.09) and share.sum() == pytest.approx(3.09)
    assert found["effective"].tolist() == [math.sqrt(2)] and found["place"].tolist() == [[3, 3]]
    assert found["theoretical"].tolist() == [3] and found["pictures"] == 3


def test_a_residual_network_sees_less_than_a_plain_one():
    class Residual(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.layer(x)

    first, *rest = uniform(9)
    plain, residual = nn.Sequential(first, *rest), nn.Sequential(first, *map(Residual, rest))
    pictures = [torch.randn(1, 3, 40, 40)]
    # Half of the weight of x + F passes each shortcut: the step's variance halves (Luo et al. 2016, §2.4).
    found = [measured(network, pictures)["four_sigma"][0] for network in (plain, residual)]
    assert found == pytest.approx([4 * math.sqrt(9 * 2 / 3), 4 * math.sqrt(2 / 3 + 8 / 3)], rel=1e-4)
    assert measured(residual, pictures)["theoretical"] == measured(plain, pictures)["theoretical"] == 19


def test_sizes_by_hand():
    square = np.zeros((9, 9))
    square[2:7, 2:7] = 1
    square[0, 0] = 0.045
    assert effective_side(square) == 5
    line = np.zeros((5, 9))
    line[2, [2, 6]] = 0.5  # variance 4 across, none down
    assert four_sigma(line) == pytest.approx(4 * math.sqrt(2))


def test_pictures_are_cut_or_mirrored_around_their_middle():
    row = torch.arange(4.0).expand(1, 1, 4, 4)
    assert fit(row, 2)[0, 0, 0].tolist() == [1, 2]
    assert fit(row, 4).equal(row)
    assert fit(row, 10)[0, 0, 0].tolist() == [2, 1, 0, 0, 1, 2, 3, 3, 2, 1]
    assert fit(torch.rand(2, 3, 4, 30), 9).shape == (2, 3, 9, 9)


def test_networks_of_ours(random_network, batches):
    network = random_network("resnet8_cifar")
    found = measure_receptive_fields(network, batches, ReceptiveOptions(side=48), 0)
    assert found["features"].tolist() == ["stem", "res2", "res3", "res4"]
    assert found["theoretical"].tolist() == [3, 7, 13, 25] and found["stride"].tolist() == [1, 1, 2, 4]
    for name, size in zip(found["features"], found["theoretical"], strict=True):
        gradient = found[f"gradient/{name}"]
        assert gradient.shape == (48, 48) and gradient.sum() == pytest.approx(1)
        outside = np.ones((48, 48), dtype=bool)
        reach = int(size - 1) // 2
        outside[24 - reach : 25 + reach, 24 - reach : 25 + reach] = False
        assert (gradient[outside] == 0).all() and (gradient[24 - reach] > 0).any()
    assert (found["effective"] <= found["theoretical"]).all() and found["pictures"] == 10
    noise = measure_receptive_fields(network, batches, ReceptiveOptions(noise=True), 0)
    assert noise["gradient/res4"].shape == (16, 16)
    # Batches do not matter.
    joined = [tuple(torch.cat(parts) for parts in zip(*batches, strict=True))]
    again = measure_receptive_fields(network, joined, ReceptiveOptions(side=48), 0)
    np.testing.assert_allclose(again["gradient/res4"], found["gradient/res4"], rtol=1e-4, atol=1e-9)


def test_few_pixels_pass_at_once():
    seen = []

    def maps(images):
        seen.append(len(images))
        return {"map": images}

    side = math.isqrt(PIXELS_AT_ONCE // 2)
    measure_fields(maps, find_fields(maps, {"map": 1}, CPU), [torch.rand(5, 3, side, side)])
    assert max(seen) == 2 and sum(seen[-3:]) == 5


def test_summary_and_what_has_no_gradient(random_network, batches):
    found = measure_receptive_fields(random_network("resnet8_cifar"), batches, ReceptiveOptions(), 0)
    summary = summarise_receptive_fields(found)
    assert summary["pictures"] == 10 and summary["seen"] == "16 x 16 pixels"
    assert summary["fields"][-1].keys() == {
        *("map", "stride", "theoretical", "offset", "effective", "four_sigma")
    }
    whole = {name: values.copy() for name, values in found.items()}
    whole["theoretical"][-1] = math.inf
    last = summarise_receptive_fields(whole)["fields"][-1]
    assert last["theoretical"] == "the whole picture" and "offset" not in last
    with pytest.raises(UserError, match="no pictures"):
        measured(nn.Identity(), [])
    with pytest.raises(UserError, match="no gradient leads from the middle of map"):
        measured(nn.Threshold(10, 0), [torch.zeros(1, 3, 8, 8)])
