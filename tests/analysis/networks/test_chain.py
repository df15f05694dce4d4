import pytest
import torch

from analysis.networks.chain import Chain
from backbones import OptionError, create_model
from backbones.lesion import without_blocks

NAMES = [
    "resnet8_cifar",
    "plain8_cifar",
    "preact_resnet8_cifar",
    "highway19_cifar",
    "resnet18",
    "preact_resnet18",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_chain_is_its_network(name, random_network, batches):
    network = random_network(name)
    chain = Chain(network)
    with torch.no_grad():
        inputs = chain.inputs(batches[0][0])
        assert len(inputs) == len(chain) + 1
        for first in (0, 1, len(chain) - 1):
            torch.testing.assert_close(chain.run(inputs[first], first), network(batches[0][0]))
        torch.testing.assert_close(chain.classify(inputs[-1]), network(batches[0][0]))


def test_a_chain_has_its_networks_lesions(random_network, batches):
    network = random_network("resnet20_cifar")
    chain = Chain(network)
    with torch.no_grad(), without_blocks(network, ["res3.1"]):
        torch.testing.assert_close(chain.run(chain.inputs(batches[0][0])[0], 0), network(batches[0][0]))


def test_stages_and_identities(random_network):
    chain = Chain(random_network("resnet20_cifar"))
    assert chain.stages == {"res2": [0, 1, 2], "res3": [3, 4, 5], "res4": [6, 7, 8]}
    assert [place for place in range(9) if not chain.is_identity(place)] == [3, 6]
    assert not any(Chain(random_network("highway19_cifar")).is_identity(place) for place in range(14))


@pytest.mark.parametrize(
    ("unit", "identity"),
    [
        *(("scaled", False), ("exclusive_gating", False), ("shortcut_only_gating", False)),
        *(("dropout_shortcut", True), ("relu_before_addition", True), ("relu_only_preactivation", True)),
    ],
)
def test_units_that_weigh_their_shortcut_pass_no_identity(unit, identity, random_network, batches):
    network = random_network("resnet20_cifar", unit=unit)
    chain = Chain(network)
    chain.require_sums()
    assert [place for place in range(9) if chain.is_identity(place)] == [0, 1, 2, 4, 5, 7, 8] * identity
    with torch.no_grad():
        images = batches[0][0]
        torch.testing.assert_close(chain.run(chain.inputs(images)[0], 0), network(images))


def test_normalised_sums_are_refused(random_network):
    chain = Chain(random_network("resnet8_cifar", unit="bn_after_addition"))
    assert chain.has_shortcuts()
    with pytest.raises(
        OptionError, match=r"normalises behind its sums \(unit='bn_after_addition'\), .* another"
    ):
        chain.require_sums()


def test_networks_without_blocks_or_sums_are_refused(random_network):
    with torch.device("meta"), pytest.raises(OptionError, match="vgg16 has no blocks"):
        Chain(create_model("vgg16"))
    with pytest.raises(OptionError, match="plain8_cifar has no shortcuts"):
        Chain(random_network("plain8_cifar")).require_sums()
