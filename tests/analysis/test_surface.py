"""Surfaces whose heights are known, directions, and measurements that go on where they were stopped."""

from itertools import product
from math import log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.surface import (
    SurfaceOptions,
    count_minima,
    draw_direction,
    fold_direction,
    measure_surface,
    sum_over_places,
    summarise_surface,
)
from backbones import create_model
from backbones.norm import fold_batchnorm
from foundation.errors import UserError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def squared(network, images, labels):
    """Sums over a batch: squared errors, and pictures."""
    error = (network(images)[:, 0] - labels).square().sum()
    return torch.stack([error, error.new_tensor(len(images))])


@pytest.fixture
def linear():
    """y = w · x with w = (3, 1), and batches of 2 and 1 points."""
    network = nn.Linear(2, 1, bias=False).double()
    network.weight.data = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    batches = [
        (torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double(), torch.tensor([3.0, 1.0]).double()),
        (torch.tensor([[1.0, 1.0]]).double(), torch.tensor([6.0]).double()),
    ]
    return network, batches


def test_a_quadratic_by_hand(linear):
    # At (a, b) the weights are (3 + a, 1 + 2b) along (1, 0) and (0, 2). The answers are 3 + a, 2 + 4b and
    # 4 + a + 2b for 3, 1 and 6: squared errors a², (1 + 4b)² and (a + 2b − 2)².
    network, batches = linear
    along = [{"weight": torch.tensor([[1.0, 0.0]]).double()}, {"weight": torch.tensor([[0.0, 2.0]]).double()}]
    places = list(product((-1.0, 0.0, 0.5), (0.0, 2.0)))
    sums, pictures = sum_over_places(network, along, places, batches, squared)
    expected = [a**2 + (1 + 4 * b) ** 2 + (a + 2 * b - 2) ** 2 for a, b in places]
    assert sums[:, 0].tolist() == pytest.approx(expected, abs=1e-12)
    assert sums[:, 1].tolist() == [3] * 6 and pictures == 3


def test_weights_are_what_they_were_also_after_an_error(linear):
    network, batches = linear
    network.weight.data += 0.1  # which no binary fraction is
    before = network.weight.detach().clone()
    along = [draw_direction(network, generator())]
    sum_over_places(network, along, [(0.3,)], batches, squared)
    assert torch.equal(network.weight, before) and network.weight.requires_grad
    with pytest.raises(UserError, match=r"the loss at \(inf\) is not finite; lower surface.reach"):
        sum_over_places(network, along, [(0.3,), (float("inf"),)], batches, squared)
    assert torch.equal(network.weight, before)
    batches[0][0][0, 0] = float("inf")  # at the network's own weights, too
    with pytest.raises(
        UserError, match=r"the loss at \(0\.3\) is not finite; nor is the network's own; take"
    ):
        sum_over_places(network, along, [(0.3,)], batches, squared)


def test_filters_of_a_direction_are_as_long_as_the_weights(random_network):
    network = random_network("resnet8_cifar")
    direction = draw_direction(network, generator())
    matrices = {name for name, parameter in network.named_parameters() if parameter.dim() > 1}
    assert set(direction) == matrices and "fc.weight" in matrices and "bn1.weight" not in matrices
    for name, values in direction.items():
        weight = network.get_parameter(name)
        torch.testing.assert_close(values.flatten(1).norm(dim=1), weight.flatten(1).norm(dim=1))
        cosine = F.cosine_similarity(values.flatten(), weight.flatten(), dim=0)
        assert abs(cosine) < 0.3  # a direction of its own
    network.conv1.weight.data[3] = 0
    assert (draw_direction(network, generator())["conv1.weight"][3] == 0).all()


def test_networks_of_equal_shapes_get_the_same_numbers(random_network):
    # Before scaling; and each its own scale, here twice the length in all filters.
    one, other = random_network("resnet8_cifar"), random_network("plain8_cifar")
    for parameter in other.parameters():
        parameter.data *= 2
    for a, b in zip(*(draw_direction(n, generator(3)).values() for n in (one, other)), strict=True):
        torch.testing.assert_close(F.normalize(a.flatten(1)), F.normalize(b.flatten(1)))
        assert not torch.allclose(a, b)
    again = draw_direction(one, generator(4))["conv1.weight"]
    assert not torch.equal(again, draw_direction(one, generator(3))["conv1.weight"])


@pytest.mark.parametrize("name", ["resnet8_cifar", "preact_resnet8_cifar"])
def test_a_folded_network_moves_as_the_network_itself(name, random_network, batches):
    network = random_network(name)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data[::2] *= -1  # folding turns such filters round
    direction, folded = draw_direction(network, generator()), fold_batchnorm(network)
    along = fold_direction(network, direction)
    for moved, by in ((folded, along), (network, direction)):
        for key, values in by.items():
            moved.get_parameter(key).data += 0.4 * values
    images = batches[0][0]
    with torch.no_grad():
        torch.testing.assert_close(folded(images), network(images), rtol=1e-3, atol=1e-3)


def test_the_middle_is_the_network_and_the_rest_is_where_it_is_said(random_network, batches):
    network = random_network("resnet8_cifar")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = measure_surface(network, batches, SurfaceOptions(points=5, reach=0.5), seed=7)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert found["x"].tolist() == found["y"].tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
    assert found["loss"].shape == found["error"].shape == (5, 5)
    assert (found["pictures"], found["classes"]) == (10, 3)
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    drawn = generator(7)
    first, second = (draw_direction(network, drawn) for _ in range(2))
    for row, column in ((2, 2), (0, 3)):
        for name in first:
            moved = before[name] + found["x"][column] * first[name] + found["y"][row] * second[name]
            network.get_parameter(name).data = moved
        with torch.no_grad():
            logits = network(images)
        loss, wrong = F.cross_entropy(logits, labels), (logits.argmax(1) != labels).float().mean()
        assert found["loss"][row, column] == pytest.approx(loss.item(), rel=1e-4)
        assert found["error"][row, column] == pytest.approx(100 * wrong.item(), abs=1e-4)


def test_a_line_is_the_middle_of_the_plane(random_network, batches):
    network = random_network("resnet8_cifar")
    plane, line = (
        measure_surface(network, batches, SurfaceOptions(points=3, dimensions=d), seed=0) for d in (2, 1)
    )
    assert line["y"].tolist() == [0] and line["loss"].shape == (1, 3)
    np.testing.assert_allclose(line["loss"][0], plane["loss"][1], rtol=1e-6)
    assert summarise_surface(line)["loss"] == pytest.approx(summarise_surface(plane)["loss"], rel=1e-6)


@pytest.mark.parametrize("stop", [1, 9, 12])  # in the first batch, between the two, in the second
def test_a_stopped_measurement_goes_on_to_the_same_bits(stop, random_network, batches):
    network, options = random_network("resnet8_cifar"), SurfaceOptions(points=3)
    kept = []

    def keep(arrays):
        kept.append({name: value.copy() for name, value in arrays.items()})
        if len(kept) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_surface(network, batches, options, 0, keep=keep)
    whole, more = measure_surface(network, batches, options, 0), []
    resumed = measure_surface(network, batches, options, 0, begun=kept[-1], keep=more.append)
    assert len(more) == 18 - stop  # nothing is measured twice
    assert all((resumed[name] == whole[name]).all() for name in whole)
    kept[-1]["sums"][0] += 1  # or what was begun would not have been looked at
    other = measure_surface(network, batches, options, 0, begun=kept[-1])
    assert other["loss"][0, 0] == pytest.approx(whole["loss"][0, 0] + 0.1)


def test_pictures_are_weighed_alike_whatever_the_batches(random_network, batches):
    network, options = random_network("resnet8_cifar"), SurfaceOptions(points=3)
    whole = [tuple(torch.cat(parts) for parts in zip(*batches, strict=True))]
    one, other = (measure_surface(network, pictures, options, 0)["loss"] for pictures in (whole, batches))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def surface_of(loss):
    half = len(loss[0]) // 2
    x = np.arange(-half, half + 1) / half
    y = x if len(loss) > 1 else np.zeros(1)
    arrays = {"x": x, "y": y, "loss": np.array(loss, dtype=float), "error": np.full((len(y), len(x)), 5.0)}
    return arrays | {"classes": np.array(10), "pictures": np.array(4)}


def test_summary_of_a_bowl_by_hand():
    # 1 + 4 (x² + y²) at −1, −.5, 0, .5, 1: 1 in the middle, 2 at .5, 3 at (.5, .5), 5 at 1, 9 in the corners.
    # Below log 10 = 2.303 are the middle and its four neighbours, 5 of 25.
    x = np.linspace(-1, 1, 5)
    summary = summarise_surface(surface_of(1 + 4 * (x**2 + x[:, None] ** 2)))
    assert summary == {
        **{"pictures": 4, "loss": 1.0, "error": 5.0, "largest_loss": 9.0},
        "largest_loss_within": {"0.25": 1.0, "0.5": 2.0, "1": 5.0},
        **{"share_below_chance": 0.2, "bending_down": 0.0, "minima": 1},
    }
    assert log(10) > 2  # or fewer points would be below


def test_a_rough_surface_bends_down():
    # Along a line: second differences of 1, 0, 1, 0, 2 are 2, −2, 3; minima are the two zeros.
    summary = summarise_surface(surface_of([[1, 0, 1, 0, 2]]))
    assert summary["bending_down"] == pytest.approx(1 / 3) and summary["minima"] == 2
    assert summary["loss"] == 1 and summary["largest_loss_within"] == {"0.25": 1.0, "0.5": 1.0, "1": 2.0}


def test_minima_are_lower_than_all_neighbours_and_inside():
    flat = np.ones((4, 4))
    assert count_minima(flat) == 0
    for place, number in (((1, 1), 1), ((2, 2), 1), ((0, 1), 0)):
        lowered = flat.copy()
        lowered[place] = 0
        assert count_minima(lowered) == number
    lowered = flat.copy()
    lowered[1, 1], lowered[2, 2] = 0.5, 0  # neighbours by a corner
    assert count_minima(lowered) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 20}, "points must be odd, so that the network's own weights are among them, got 20"),
        ({"points": 1}, "points must be at least 3, got 1"),
        ({"reach": 0.0}, "reach must be positive, got 0.0"),
        ({"pictures": 0}, "pictures must be positive, got 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SurfaceOptions(**options)


def test_without_pictures(random_network):
    with pytest.raises(UserError, match="no pictures"):
        measure_surface(create_model("resnet8_cifar").eval(), [], SurfaceOptions(points=3), seed=0)
