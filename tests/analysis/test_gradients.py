import numpy as np
import pytest
import torch

from analysis.gradients import (
    LAGS,
    GradientsOptions,
    _Products,
    autocorrelation,
    measure_gradients,
    summarise_gradients,
)
from backbones import OptionError, create_model
from foundation.errors import UserError

FEW = GradientsOptions(lines=2, points=20, depths=3)


def test_autocorrelation_by_hand():
    # 1 2 3 4 less its mean: -1.5 -.5 .5 1.5, squares 5. Lag 1: .75 - .25 + .75 = 1.25; lag 2: -.75 - .75;
    # lag 3: -2.25.
    expected = torch.tensor([1, 0.25, -0.3, -0.45], dtype=torch.float64)
    torch.testing.assert_close(autocorrelation(torch.tensor([1.0, 2, 3, 4]), 4), expected)
    vectors = torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0]])
    torch.testing.assert_close(autocorrelation(vectors, 4), expected)
    assert autocorrelation(torch.full((5,), 3.0), 3).tolist() == [1, 1, 1]  # it never changes


@pytest.mark.parametrize("parts", [[100], [1] * 100, [3, 40, 57], [16, 84], [99, 1]])
def test_parts_of_a_sequence_give_what_the_whole_gives(parts):
    values = torch.randn(100, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 5
    products = _Products(LAGS)
    for part in values.split(parts):
        products.add(part)
    centred = values - values.mean(0)
    expected = [(centred[: 100 - lag] * centred[lag:]).sum() / centred.square().sum() for lag in range(LAGS)]
    torch.testing.assert_close(products.autocorrelation(), torch.stack(expected))


@pytest.mark.parametrize("name", ["resnet20_cifar", "plain20_cifar", "preact_resnet8_cifar", "resnet18"])
def test_lines_depths_and_lags(name, random_network, batches):
    found = measure_gradients(random_network(name), batches, FEW, seed=0)
    depths = len(found["depths"])
    assert found["autocorrelation"].shape == (2, depths, LAGS) and depths <= 3
    np.testing.assert_allclose(found["autocorrelation"][:, :, 0], 1)
    assert (np.abs(found["autocorrelation"]) <= 1 + 1e-9).all()
    images = batches[0][0]
    steps = [(images[i + 1] - images[i]).norm().item() / 19 for i in (0, 2)]
    np.testing.assert_allclose(found["step"], steps, rtol=1e-5)


def test_depths_are_blocks_and_the_last_is_among_them(random_network, batches):
    found = measure_gradients(random_network("resnet20_cifar"), batches, FEW, seed=0)
    assert found["depths"].tolist() == [1, 5, 9] and found["blocks"].tolist() == [
        "res2.0",
        "res3.1",
        "res4.2",
    ]


def test_gradients_are_autograds(random_network, batches):
    # The shallowest depth by hand: the first block's mean channels, combined by the first random direction.
    network = random_network("resnet8_cifar")
    found = measure_gradients(network, batches, GradientsOptions(lines=1, points=20, depths=3), seed=5)
    images = batches[0][0]
    points = torch.stack([images[0] + t * (images[1] - images[0]) for t in torch.linspace(0, 1, 20)])
    points.requires_grad_()
    values = network.layer1(network.relu(network.bn1(network.conv1(points)))).mean((2, 3))
    direction = torch.randn(16, generator=torch.Generator().manual_seed(5))
    (gradient,) = torch.autograd.grad((values @ direction).sum(), points)
    expected = autocorrelation(gradient.flatten(1), LAGS)
    np.testing.assert_allclose(found["autocorrelation"][0, 0], expected, rtol=1e-3, atol=1e-5)


def test_summary(random_network, batches):
    found = measure_gradients(random_network("resnet20_cifar"), batches, FEW, seed=0)
    summary = summarise_gradients(found)
    assert summary["lines"] == 2 and summary["blocks"] == 9
    assert summary["lag_1_behind"]["res4.2"] == summary["autocorrelation"]["lag 1"]
    assert summary["autocorrelation"]["lag 5"] == pytest.approx(found["autocorrelation"][:, -1, 5].mean())


def test_bad_input_is_refused(random_network, batches):
    network = random_network("resnet8_cifar")
    with pytest.raises(UserError, match="there is one"):
        measure_gradients(network, [(batches[0][0][:1], batches[0][1][:1])], FEW, seed=0)
    with pytest.raises(UserError, match="no pictures"):
        measure_gradients(network, [], FEW, seed=0)
    with torch.device("meta"), pytest.raises(OptionError, match="vgg16 has no blocks"):
        measure_gradients(create_model("vgg16"), batches, FEW, seed=0)
    with pytest.raises(ValueError, match="points must be from 17"):
        GradientsOptions(points=16)
