"""Networks whose ReLUs and maps hooks can reach."""

import pytest
import torch
from torch import nn

from backbones import OptionError, create_model
from backbones.explain.hookable import MARK, hookable
from backbones.features import FeatureNetwork

# Each with its number of ReLUs: of a residual or plain network of depth d, d - 1; VGG has two behind fc6 and
# fc7; of Highway-19 those of 3 + 1 convolutions and 14 layers, and gates that are none.
NUMBERS = {
    "resnet8_cifar": 7,
    "plain8_cifar": 7,
    "preact_resnet8_cifar": 7,
    "highway19_cifar": 18,
    "resnet18": 17,
    "vgg16": 15,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_the_network_is_the_same_and_each_relu_a_module(name):
    network = create_model(name, num_classes=3).eval()
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        logits = network(pictures)
        for feature in network.feature_specs:
            model, maps = hookable(network, feature), []
            getattr(model, MARK).register_forward_hook(
                lambda module, inputs, output, maps=maps: maps.append(output.clone())
            )
            assert torch.equal(model(pictures), logits)
            assert torch.equal(*maps, FeatureNetwork(network, [feature])(pictures)[feature])
    relus = [module for module in model.modules() if isinstance(module, nn.ReLU)]
    assert len(relus) == NUMBERS[name] and not any(relu.inplace for relu in relus)
    calls = [node.target for node in model.graph.nodes if node.op == "call_module"]
    assert sum(calls.count(name) for name, module in model.named_modules() if module in relus) == len(relus)
    assert next(model.parameters()) is next(network.parameters())  # no copy


def test_an_unknown_feature_is_refused():
    with pytest.raises(OptionError, match=r"unknown feature 'res6'; did you mean"):
        hookable(create_model("resnet8_cifar").eval(), "res6")
