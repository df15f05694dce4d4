"""Linear CKA against plain formulas, and what it must not change with."""

from itertools import permutations

import numpy as np
import pytest
import torch

from analysis.networks.chain import Chain
from analysis.similarity import BatchedCKA, measure_similarity, summarise_similarity
from foundation.errors import UserError


def hsic_by_loops(x, y):
    """The unbiased estimator of HSIC as sums over indices that all differ (Song et al. 2012)."""
    n = len(x)
    k, m = (x @ x.T).tolist(), (y @ y.T).tolist()
    two = sum(k[a][b] * m[a][b] for a, b in permutations(range(n), 2)) / (n * (n - 1))
    three = sum(k[a][b] * m[a][c] for a, b, c in permutations(range(n), 3)) / (n * (n - 1) * (n - 2))
    four = sum(k[a][b] * m[c][d] for a, b, c, d in permutations(range(n), 4))
    return two - 2 * three + four / (n * (n - 1) * (n - 2) * (n - 3))


def cka_by_loops(x, y):
    x, y = x.flatten(1).double(), y.flatten(1).double()
    return hsic_by_loops(x, y) / (hsic_by_loops(x, x) * hsic_by_loops(y, y)) ** 0.5


def cka(one, other):
    """Of the outputs of one layer each, in one batch."""
    sums = BatchedCKA()
    sums.add([one], [other])
    return sums.result().item()


@pytest.fixture
def normal():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator)


@pytest.mark.parametrize("pictures", [4, 7])
def test_one_batch_is_the_formula(normal, pictures):
    x, y = normal(pictures, 3, 2, 2) + 5, normal(pictures, 6)  # far from zero, as behind ReLUs
    y[:, 0] += x[:, 0, 0, 0]
    # Four pictures leave no more than a plane of centred products, in which 1 and −1 come by chance.
    assert cka(x, y) == pytest.approx(cka_by_loops(x, y), abs=1e-5)


def test_four_points_by_hand():
    # Points on a line. Of four points the centred product of two equals that of the other two, and all sum to
    # zero: each is the mean of the two products less the mean of all. At −1.5, −.5, .5, 1.5 the products of
    # points 12 and 34 are .75 and .75, of 13 and 24 −.75 and −.75, of 14 and 23 −2.25 and −.25. The means are
    # .75, −.75 and −1.25, and less −5/12 they are (14, −4, −10) / 12. At 0, 1, 2, 4 the products are 0 and 8,
    # 0 and 4, 0 and 2; the means less 7/3 are (5, −1, −4) / 3. The cosine of the two is
    # (14·5 + 4·1 + 10·4) / √((14² + 4² + 10²)(5² + 1² + 4²)) = 114 / √(312·42).
    x, y = torch.tensor([[-1.5], [-0.5], [0.5], [1.5]]), torch.tensor([[0.0], [1], [2], [4]])
    assert cka(x, y) == pytest.approx(114 / (312 * 42) ** 0.5, abs=1e-6)


def test_rotation_and_scale_change_nothing(normal):
    x = normal(30, 8) + 2
    rotation, _ = torch.linalg.qr(normal(8, 8))
    assert cka(x, x) == pytest.approx(1, abs=1e-12)
    assert cka(x, 3 * x @ rotation + 7) == pytest.approx(1, abs=1e-5)
    assert cka(x, x @ torch.diag(torch.tensor([9.0, 1, 1, 1, 1, 1, 1, 1]))) < 0.9  # no rotation


def test_channels_and_places_have_no_order(normal):
    x, y = normal(20, 4, 3, 3), normal(20, 5)
    turned = x.flip(1).flip(3).contiguous(memory_format=torch.channels_last)
    assert cka(turned, y) == pytest.approx(cka(x, y), abs=1e-6)


def test_independent_layers_are_at_zero_where_the_biased_estimator_is_not(normal):
    # 40 pictures and 200 channels: unrelated outputs look alike unless the diagonal is left out.
    draws = [(normal(40, 200), normal(40, 200)) for _ in range(20)]
    found = np.array([cka(x, y) for x, y in draws])
    assert abs(found.mean()) < 4 * found.std() / 20**0.5 and found.std() < 0.1
    x, y = (z - z.mean(0) for z in draws[0])
    biased = (x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())
    assert biased > 0.8


def test_batches_are_means_of_the_estimate(normal):
    batches = [(normal(n, 6), normal(n, 3)) for n in (9, 6, 6)]
    sums = BatchedCKA()
    for x, y in batches:
        y += x[:, :3]
        sums.add([x, y], [y])

    def mean(one, other):
        terms = [len(b[0]) * (len(b[0]) - 3) for b in batches]
        found = [hsic_by_loops(b[one].double(), b[other].double()) for b in batches]
        return np.average(found, weights=terms)

    across, itself = sums.result()[:, 0].tolist()
    assert across == pytest.approx(mean(0, 1) / (mean(0, 0) * mean(1, 1)) ** 0.5, abs=1e-6)
    assert itself == pytest.approx(1, abs=1e-12)


def test_a_layer_that_is_always_alike_has_no_likeness(normal):
    sums = BatchedCKA()
    sums.add([normal(5, 2), torch.ones(5, 2)], [normal(5, 2)])
    assert sums.result()[1].item() == 0 and sums.result()[0].item() != 0
    sums.add([normal(5, 2), torch.full((5, 2), torch.inf)], [normal(5, 2)])
    assert sums.result()[1].isnan() and sums.result()[0].isfinite()


@pytest.mark.parametrize("name", ["resnet8_cifar", "plain8_cifar", "preact_resnet8_cifar", "highway19_cifar"])
def test_layers_are_the_stem_and_the_outputs_of_blocks(name, random_network, batches):
    network = random_network(name)
    found = measure_similarity(network, network, [(images, images) for images, _ in batches])
    assert found["layers"].tolist() == ["stem", *Chain(network).names] == found["other_layers"].tolist()
    sums = BatchedCKA()
    for images, _ in batches:
        chain = Chain(network)
        with torch.no_grad():
            first, *_ = chain.inputs(images)
            outputs = [first, *chain.outputs(first)]
        sums.add(outputs, outputs)
    np.testing.assert_allclose(found["similarity"], sums.result(), atol=1e-4)
    np.testing.assert_allclose(found["similarity"], found["similarity"].T, atol=1e-12)
    np.testing.assert_allclose(found["similarity"].diagonal(), 1, atol=1e-12)
    assert found["itself"] and found["pictures"] == 10


def test_two_networks_each_with_its_own_pictures(random_network, batches):
    # The one sees channels as they are, the other in reverse with its first convolution reversed: the same.
    one, other = random_network("resnet8_cifar"), random_network("resnet8_cifar")
    other.conv1.weight.data = other.conv1.weight.data.flip(1)
    same = measure_similarity(one, other, [(images, images.flip(1)) for images, _ in batches])
    assert not same["itself"]
    np.testing.assert_allclose(same["similarity"].diagonal(), 1, atol=1e-5)
    swapped = measure_similarity(other, one, [(images.flip(1), images) for images, _ in batches])
    np.testing.assert_allclose(swapped["similarity"], same["similarity"].T, atol=1e-12)
    wrong = measure_similarity(one, other, [(images, images) for images, _ in batches])
    assert wrong["similarity"].diagonal().min() < 0.99


def test_depths_may_differ_and_small_batches_are_left_out(random_network, batches):
    networks = random_network("resnet8_cifar"), random_network("resnet14_cifar")
    pairs = [(images, images) for images, _ in batches]
    found = measure_similarity(*networks, pairs)
    assert found["similarity"].shape == (4, 7) and len(found["other_layers"]) == 7
    few = (batches[0][0][:3], batches[0][0][:3])
    again = measure_similarity(*networks, [*pairs, few])
    assert (again["similarity"] == found["similarity"]).all() and again["pictures"] == 10
    with pytest.raises(UserError, match="of at least 4 pictures, got 6 pictures in smaller ones; raise"):
        measure_similarity(*networks, [few, few])


def test_without_pictures(random_network):
    network = random_network("resnet8_cifar")
    with pytest.raises(UserError, match="no pictures"):
        measure_similarity(network, network, [])


def test_summary_by_hand():
    layers, pictures = np.array(["stem", "res2.0", "res2.1"]), np.array(10)
    matrix = np.array([[1, 0.5, 0.25], [0.5, 1, 0.75], [0.25, 0.75, 1]])
    arrays = {"layers": layers, "other_layers": layers, "similarity": matrix, "pictures": pictures}
    summary = summarise_similarity(arrays | {"itself": np.array(True)})
    assert summary == {"pictures": 10, "layers": 3, "mean_of_different_layers": 0.5, "neighbours": 0.625}
    arrays |= {"similarity": np.array([[0.25, 0.75], [0.5, 0.25], [0, 0.25]]), "other_layers": layers[:2]}
    summary = summarise_similarity(arrays | {"itself": np.array(False)})
    assert summary["mean"] == 2 / 6 and (summary["layers"], summary["other_layers"]) == (3, 2)
    assert [tuple(row.values()) for row in summary["closest"]] == [
        *(("stem", "res2.0", 0.75), ("res2.0", "stem", 0.5), ("res2.1", "res2.0", 0.25))
    ]
