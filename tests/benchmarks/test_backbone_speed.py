"""Both sides compute the same; nothing here depends on a clock."""

import torch
from torch import nn

from backbones import create_model
from benchmarks.backbone_speed import backward, forward, kept_for_backward
from benchmarks.detectors.peers import cifar_resnet


def test_the_cifar_peer_is_the_same_network():
    ours, peer = create_model("resnet20_cifar", shortcut="B"), cifar_resnet(20)
    peer.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(forward(ours, images), forward(peer, images))
    for network in (ours, peer):
        backward(network, images)
    torch.testing.assert_close(ours.conv1.weight.grad, peer.conv1.weight.grad, rtol=1e-3, atol=1e-6)
    assert kept_for_backward(ours, images) <= kept_for_backward(peer, images)


def test_kept_for_backward_by_hand():
    # Linear keeps its input, 4 x 8 floats, ReLU its output, 4 x 2 floats: 32 and 8 of four bytes each.
    # The weight is the network's own.
    network = nn.Sequential(nn.Linear(8, 2), nn.ReLU())
    assert kept_for_backward(network, torch.randn(4, 8)) == 4 * (32 + 8)


def test_gradients_are_of_one_call():
    network = nn.Linear(3, 1)
    images = torch.randn(2, 3)
    backward(network, images)
    first = network.weight.grad.clone()
    backward(network, images)
    assert torch.equal(network.weight.grad, first)
