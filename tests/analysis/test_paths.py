from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from analysis import paths
from analysis.paths import effective_range, measure_paths, path_weights, share_of_paths, summarise_paths
from backbones import OptionError
from foundation.errors import UserError

RESIDUAL = ["resnet20_cifar", "preact_resnet20_cifar", "preact_resnet26_cifar", "highway19_cifar", "resnet18"]


def test_veits_share_of_paths():
    # Of 2^54 paths through a 110-layer network 0.4537 % go by 5 … 17 residuals; 98.02 % by 19 … 35.
    assert 100 * share_of_paths(54, 5, 17) == pytest.approx(0.4537, abs=5e-5)
    assert 100 * share_of_paths(54, 19, 35) == pytest.approx(98.02, abs=5e-3)
    assert share_of_paths(3, 0, 3) == 1


UNITS = [
    "scaled",
    "exclusive_gating",
    "shortcut_only_gating",
    "relu_before_addition",
    "relu_only_preactivation",
]


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in RESIDUAL), *(("resnet20_cifar", {"unit": unit}) for unit in UNITS)],
)
def test_paths_add_up_to_autograds_gradient(name, options, random_network, batches):
    # Behind the sums of the network of 2015 stand ReLUs; going back they only multiply by zeros and ones.
    found = measure_paths(random_network(name, **options), batches, seed=0)
    assert found["sum_error"] < 1e-5
    assert found["share"].sum() == pytest.approx(1)


def test_all_paths_one_by_one(random_network, batches):
    # ResNet-8: three blocks, 8 paths. Each is a backward pass in which only one term of a block counts.
    network, (images, labels) = random_network("resnet8_cifar"), batches[0]
    found = measure_paths(network, [batches[0]], seed=0)
    blocks = [network.layer1[0], network.layer2[0], network.layer3[0]]
    start = network.relu(network.bn1(network.conv1(images))).detach()
    last = network.layer3(network.layer2(network.layer1(start))).detach().requires_grad_()
    loss = F.cross_entropy(network.fc(last.mean((2, 3))), labels, reduction="sum")
    sizes = torch.autograd.grad(loss, last)[0].flatten(1).norm(dim=1)  # gradients are counted in
    norms, sums = {k: [] for k in range(4)}, 0
    for taken in (set(c) for k in range(4) for c in combinations(range(3), k)):
        x = first = start.clone().requires_grad_()
        for place, block in enumerate(blocks):
            shortcut, residual = block.terms(x)
            kept, other = (residual, shortcut) if place in taken else (shortcut, residual)
            x = (kept + other.detach()).relu()
        loss = F.cross_entropy(network.fc(x.mean((2, 3))), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, first)
        norms[len(taken)] += (gradient.flatten(1).norm(dim=1) / sizes).tolist()
        sums = sums + gradient
    np.testing.assert_allclose(found["norm"], [np.mean(norms[k]) for k in range(4)], rtol=1e-4)
    np.testing.assert_allclose(found["deviation"], [np.std(norms[k]) for k in range(4)], rtol=1e-3)
    assert found["sampled"].tolist() == [6 * comb(3, k) for k in range(4)]
    x = start.clone().requires_grad_()
    loss = F.cross_entropy(
        network.fc(network.layer3(network.layer2(network.layer1(x))).mean((2, 3))), labels, reduction="sum"
    )
    torch.testing.assert_close(sums, torch.autograd.grad(loss, x)[0], rtol=1e-4, atol=1e-6)


def test_linear_blocks_in_closed_form(linear_network, batches):
    # Every residual multiplies by g = 0.25, where shapes do not change: a path of k residuals has g^k of the
    # gradient. A block that changes shape subsamples by both terms alike, so that it makes no difference.
    found = measure_paths(linear_network(0.25), batches, seed=0)
    np.testing.assert_allclose(found["norm"] / found["norm"][0], 0.25 ** np.arange(10), rtol=1e-4)
    # All paths of length k together: C(9, k) g^k of (1 + g)^9.
    expected = [comb(9, k) * 0.25**k / 1.25**9 for k in range(10)]
    np.testing.assert_allclose(found["share"], expected, rtol=1e-4)
    np.testing.assert_allclose(path_weights(found["norm"].tolist()), expected, rtol=1e-4)


def test_sampled_paths_against_all(random_network, batches, monkeypatch):
    network, pictures = random_network("preact_resnet14_cifar"), batches * 40
    every = measure_paths(network, batches, seed=0)
    monkeypatch.setattr(paths, "ENUMERATED", 0)
    sampled = measure_paths(network, pictures, seed=0)
    assert (sampled["sampled"] == 400).all()
    np.testing.assert_allclose(sampled["norm"][[0, -1]], every["norm"][[0, -1]], rtol=1e-4)  # one path each
    error = every["deviation"] / np.sqrt(400)  # of a mean
    assert (np.abs(sampled["norm"] - every["norm"]) < 4 * error + 1e-6).all()


def test_drawn_paths_have_their_length():
    drawn = paths._draw_paths(np.random.default_rng(0), 50, 12, 5)
    assert drawn.shape == (50, 12) and (drawn.sum(1) == 5).all() and len(drawn.unique(dim=0)) > 40


def test_effective_range_by_hand():
    # Three blocks: 1, 3, 3, 1 paths. With sizes 0, 1, 1, 0 lengths 1 and 2 hold all, each half.
    assert effective_range([0, 1, 1, 0], 0.95) == (1, 2)
    assert effective_range([0, 1, 1, 0], 0.5) == (1, 1)
    np.testing.assert_allclose(path_weights([8, 1, 1, 2]), np.array([8, 3, 3, 2]) / 16)


def test_summary_by_hand():
    # Sizes 0 1 1 0: lengths 1 and 2 of three blocks hold all, 6 of 8 paths, the mean length is 1.5.
    arrays = {
        **{"norm": np.array([0.0, 1, 1, 0]), "share": np.array([0.1, 0.5, 0.3, 0.1])},
        **{"sampled": np.array([4.0, 5, 6, 7]), "pictures": np.array(10), "sum_error": np.array(0.0)},
    }
    summary = summarise_paths(arrays, 0.95)
    assert summary["blocks"] == 3 and summary["pictures"] == 10 and summary["paths_of_a_length"] == 4
    assert summary["effective_range"] == [1, 2] and summary["share_of_paths"] == 0.75
    assert summary["signed_share"] == pytest.approx(0.8)
    assert summary["mean_length_by_gradient"] == summary["mean_length_by_number"] == 1.5
    falling = arrays | {"norm": 3 * 0.25 ** np.arange(4)}
    assert summarise_paths(falling, 0.95)["size_per_block"] == pytest.approx(0.25)
    with pytest.raises(UserError, match="zero on all paths"):
        summarise_paths(arrays | {"norm": np.zeros(4)}, 0.95)


def test_bad_input_is_refused(random_network, batches):
    with pytest.raises(OptionError, match="no shortcuts"):
        measure_paths(random_network("plain8_cifar"), batches, seed=0)
    with pytest.raises(UserError, match="no pictures"):
        measure_paths(random_network("resnet8_cifar"), [], seed=0)
