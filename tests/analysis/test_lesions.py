from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
import torch

from analysis import lesions
from analysis.lesions import LesionOptions, kendall_tau, measure_lesions, summarise_lesions
from analysis.networks.chain import Chain
from backbones import OptionError
from backbones.lesion import reordered_blocks, without_blocks
from foundation.errors import UserError

FEW = LesionOptions(drawn_pictures=30, draws=3, deleted=(1, 4), swapped=(1, 2))


@pytest.fixture
def answered():
    """40 pictures in two batches, with a network's own answers as labels, so that every lesion shows."""

    def answer(network):
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(40, 3, 16, 16, generator=generator)
        with torch.no_grad():
            network.fc.bias -= network(images).mean(0)  # else some give one class alone
            labels = network(images).argmax(1)
        return [(images[:25], labels[:25]), (images[25:], labels[25:])]

    return answer


def error_of(network, batches, count):
    """Top-1 error of the first pictures, by whole passes."""
    images, labels = (torch.cat(parts)[:count] for parts in zip(*batches, strict=True))
    with torch.no_grad():
        return 100 * (network(images).argmax(1) != labels).sum().item() / len(images)


@pytest.mark.parametrize(
    "name", ["resnet20_cifar", "plain20_cifar", "preact_resnet20_cifar", "highway19_cifar"]
)
def test_cached_passes_give_what_whole_passes_give(name, random_network, answered):
    network = random_network(name)
    if name == "highway19_cifar":
        for layer in network.layer1:  # half open, where they are drawn nearly shut
            torch.nn.init.zeros_(layer.gate.bias)
    batches = answered(network)
    found = measure_lesions(network, batches, FEW, seed=1)
    assert found["error"] == found["drawn_error"] == 0
    assert len(set(found["single_error"].tolist())) > 2  # or the comparison would say little
    assert bool(found["shortcuts"]) is not name.startswith("plain")
    for block, error in zip(found["tried"], found["single_error"], strict=True):
        with without_blocks(network, [block]):
            assert error == error_of(network, batches, 40)
    assert found["deleted_error"].shape == found["swapped_error"].shape == found["tau"].shape == (2, 3)


def test_draws_are_deletions(random_network, answered):
    # Every pair of the nine blocks deleted by hand: each draw of two must be among these errors.
    network = random_network("resnet20_cifar")
    batches = answered(network)
    options = LesionOptions(draws=10, deleted=(2, 9), swapped=(), drawn_pictures=40)
    found = measure_lesions(network, batches, options, seed=0)
    by_hand = set()
    for pair in combinations(found["blocks"].tolist(), 2):
        with without_blocks(network, pair):
            by_hand.add(error_of(network, batches, 40))
    drawn = set(found["deleted_error"][0].tolist())
    assert drawn <= by_hand and len(drawn) > 2
    with without_blocks(network, found["blocks"].tolist()):
        assert set(found["deleted_error"][1].tolist()) == {error_of(network, batches, 40)}


def test_a_draw_takes_different_blocks_and_any_of_them(random_network):
    chain, rng = Chain(random_network("resnet20_cifar")), np.random.default_rng(0)
    draws = [lesions._draw_deletion(rng, chain, 3).deleted for _ in range(60)]
    assert all(len(set(draw)) == 3 for draw in draws)
    assert {name for draw in draws for name in draw} == set(chain.names)


def test_one_swap_exchanges_two_blocks(random_network, answered):
    network = random_network("resnet20_cifar")
    batches = answered(network)
    found = measure_lesions(network, batches, LesionOptions(draws=12, deleted=(), swapped=(1,)), seed=0)
    by_hand = {}
    groups = (["res2.0", "res2.1", "res2.2"], ["res3.1", "res3.2"], ["res4.1", "res4.2"])
    for a, b in (pair for group in groups for pair in combinations(group, 2)):
        with reordered_blocks(network, {a: b, b: a}):
            # Neighbours make one pair of 36 discordant, the outer two of three blocks three.
            discordant = 3 if (a, b) == ("res2.0", "res2.2") else 1
            by_hand[error_of(network, batches, 40), round(1 - discordant / 18, 9)] = (a, b)
    drawn = set(zip(found["swapped_error"][0].tolist(), found["tau"][0].round(9).tolist(), strict=True))
    assert drawn <= set(by_hand)


def test_silent_residuals_are_not_missed(random_network, batches):
    network = random_network("resnet20_cifar")
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in stage:
            torch.nn.init.zeros_(block.bn2.weight)
            torch.nn.init.zeros_(block.bn2.bias)
    found = measure_lesions(network, batches, FEW, seed=0)
    assert (found["single_error"] == found["error"]).all()
    assert (found["deleted_error"] == found["drawn_error"]).all()
    assert (found["swapped_error"] == found["drawn_error"]).all()


def test_a_dead_network_is_wrong_everywhere(random_network, batches):
    # Ties go against the network, as in every evaluation here.
    network = random_network("resnet8_cifar")
    torch.nn.init.zeros_(network.fc.weight)
    torch.nn.init.zeros_(network.fc.bias)
    assert measure_lesions(network, batches, FEW_OF_3, seed=0)["error"] == 100


FEW_OF_3 = LesionOptions(draws=1, deleted=(1,))


def test_kendall_by_hand_and_against_all_pairs():
    assert kendall_tau([0, 1, 2, 3]) == 1 and kendall_tau([3, 2, 1, 0]) == -1 and kendall_tau([0]) == 1
    assert kendall_tau([1, 0, 2]) == pytest.approx(1 / 3)  # one of three pairs is discordant
    for order in permutations(range(4)):
        concordant = sum((b - a) * (order[b] - order[a]) > 0 for a, b in combinations(range(4), 2))
        assert kendall_tau(order) == pytest.approx((2 * concordant - comb(4, 2)) / comb(4, 2))


def test_seeds_decide_the_draws(random_network, batches):
    network = random_network("resnet20_cifar")
    one, again, other = (measure_lesions(network, batches, FEW, seed)["tau"] for seed in (1, 1, 2))
    assert (one == again).all() and (one != other).any()


def test_chosen_blocks_alone(random_network, batches):
    options = LesionOptions(blocks=("res3.1",), deleted=(), swapped=())
    found = measure_lesions(random_network("resnet20_cifar"), batches, options, seed=0)
    assert found["tried"].tolist() == ["res3.1"] and found["deleted_error"].shape == (0, 20)
    summary = summarise_lesions(found)
    assert list(summary["single_deletions"]) == ["res3.1"] and summary["deletions"] == summary["swaps"] == []


def test_summary_by_hand():
    arrays = {
        **{
            name: np.array(value)
            for name, value in (("error", 10.0), ("pictures", 100), ("drawn_pictures", 50))
        },
        **{"blocks": np.array(["res2.0", "res2.1", "res3.0"]), "tried": np.array(["res2.1"])},
        "shortcuts": np.array(True),
        **{"single_error": np.array([20.0]), "deleted": np.array([2])},
        **{"deleted_error": np.array([[10.0, 30.0]]), "swapped": np.array([4])},
        **{"swapped_error": np.array([[50.0, 50.0]]), "tau": np.array([[0.5, 1.0]])},
    }
    summary = summarise_lesions(arrays)
    assert summary["single_deletions"] == {"res2.1": 20.0} and summary["single_median"] == 20
    expected = {"deleted": 2, "paths_left": 2, "mean": 20.0, "low": 10.5, "high": 29.5}
    assert summary["deletions"] == [pytest.approx(expected)]
    expected = {"swapped": 4, "tau": 0.75, "mean": 50.0, "low": 50.0, "high": 50.0}
    assert summary["swaps"] == [pytest.approx(expected)]
    # A plain network is one path, whatever is left of it.
    assert summarise_lesions(arrays | {"shortcuts": np.array(False)})["deletions"][0]["paths_left"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"deleted": (10,)}, r"lesion.deleted must be from 1 to 9, the number of blocks, got 10"),
        ({"deleted": (0,)}, "lesion.deleted must be from 1 to 9"),
        (
            {"swapped": (6,)},
            "lesion.swapped must be from 1 to 5, the number of pairs of blocks of equal shape",
        ),
    ],
)
def test_impossible_numbers_are_refused(options, message, random_network, batches):
    with pytest.raises(UserError, match=message):
        measure_lesions(random_network("resnet20_cifar"), batches, LesionOptions(**options), seed=0)


def test_nothing_to_look_at_is_refused(random_network, batches):
    with pytest.raises(UserError, match="no pictures"):
        measure_lesions(random_network("resnet8_cifar"), [], FEW_OF_3, seed=0)
    with pytest.raises(OptionError, match="unknown block 'res5.0'; did you mean"):
        measure_lesions(random_network("resnet8_cifar"), batches, LesionOptions(blocks=("res5.0",)), seed=0)
