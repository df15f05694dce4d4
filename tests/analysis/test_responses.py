import numpy as np
import pytest
import torch
from torch import nn

from analysis.responses import measure_responses, summarise_responses
from backbones import create_model
from foundation.errors import UserError


def outputs_of(network, layers, batches):
    """{layer: all its outputs}, kept whole."""
    kept = {layer: [] for layer in layers}
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(
            lambda module, inputs, output, layer=layer: kept[layer].append(output.double().flatten())
        )
    with torch.no_grad():
        for images, _ in batches:
            network(images)
    return {layer: torch.cat(values) for layer, values in kept.items()}


@pytest.mark.parametrize(
    ("name", "measured"),  # of a few 3x3 convolutions the module whose output is meant
    [
        (
            "resnet8_cifar",
            {"conv1": "bn1", "layer1.0.conv1": "layer1.0.bn1", "layer3.0.conv2": "layer3.0.bn2"},
        ),
        ("plain8_cifar", {"layer2.0.conv1": "layer2.0.bn1", "layer2.0.conv2": "layer2.0.bn2"}),
        ("preact_resnet8_cifar", {"layer1.0.conv1": "layer1.0.bn2", "layer1.0.conv2": "layer1.0.conv2"}),
        ("resnet50", {"layer1.0.conv2": "layer1.0.bn2"}),
        # Behind its last convolution the sum comes first.
        (
            "resnet8_cifar, bn_after_addition",
            {"layer1.0.conv1": "layer1.0.bn1", "layer1.0.conv2": "layer1.0.conv2"},
        ),
    ],
)
def test_responses_are_those_behind_normalisation(name, measured, random_network, batches):
    name, _, unit = name.partition(", ")
    network = random_network(name, **({"unit": unit} if unit else {}))
    found = measure_responses(network, batches)
    values = outputs_of(network, measured.values(), batches)
    for conv, module in measured.items():
        place = found["layers"].tolist().index(conv)
        assert found["std"][place] == pytest.approx(values[module].std(correction=0).item(), rel=1e-5)
        assert found["mean"][place] == pytest.approx(values[module].mean().item(), abs=1e-5)


def test_every_3x3_layer_and_no_other(random_network, batches):
    def count(name):
        return len(measure_responses(random_network(name), batches)["layers"])

    # 6n + 1 of a CIFAR network of depth 6n + 2; of ResNet-18 all of 17 convolutions but the 7x7; of ResNet-50
    # one in each of 16 bottlenecks.
    counts = {name: count(name) for name in ("resnet20_cifar", "resnet18", "resnet50")}
    assert counts == {"resnet20_cifar": 19, "resnet18": 16, "resnet50": 16}


def test_networks_without_blocks_and_normalisation_respond_too():
    pictures = [(torch.rand(1, 3, 32, 32), torch.zeros(1, dtype=torch.int64))]
    assert len(measure_responses(create_model("vgg16", num_classes=2).eval(), pictures)["layers"]) == 13


def test_linear_blocks_by_hand(linear_network, batches):
    # Behind the stem x >= 0. In res2 each block multiplies it by 1 + g, and its second layer answers g times
    # its input: with g = 0.5 the responses of the second layers are 0.5, 0.75 and 1.125 times x.
    found = measure_responses(linear_network(0.5), batches)
    std = dict(zip(found["layers"].tolist(), found["std"], strict=True))
    first = std["layer1.0.conv1"]
    assert std["layer1.0.conv2"] == pytest.approx(0.5 * first)
    assert std["layer1.1.conv1"] == pytest.approx(1.5 * first)
    assert std["layer1.2.conv2"] == pytest.approx(1.125 * first)


def test_batches_do_not_matter(random_network, batches):
    network = random_network("resnet8_cifar")
    joined = [tuple(torch.cat(parts) for parts in zip(*batches, strict=True))]
    one, other = measure_responses(network, batches), measure_responses(network, joined)
    np.testing.assert_allclose(one["std"], other["std"], rtol=1e-6)
    assert one["pictures"] == other["pictures"] == 10
    assert isinstance(network.bn1, nn.BatchNorm2d)  # the network itself is not folded


def test_summary_and_nothing(random_network, batches):
    arrays = {"std": np.array([1.0, 3.0]), "pictures": np.array(7)}
    expected = {"pictures": 7, "layers": 2, "mean_std": 2.0, "largest_std": 3.0, "smallest_std": 1.0}
    assert summarise_responses(arrays) == expected
    with pytest.raises(UserError, match="no pictures"):
        measure_responses(random_network("resnet8_cifar"), [])
