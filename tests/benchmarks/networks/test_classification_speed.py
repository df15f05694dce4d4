"""A step trains and inference does not. No timing decides here."""

import pytest
import torch
from torch import nn

from benchmarks.networks import classification_speed as module
from benchmarks.networks.classification_speed import calls_in, infer, training_step


def test_a_step_changes_weights_and_inference_none():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 1])
    before = [parameter.clone() for parameter in network.parameters()]
    infer(network, images, bf16=False)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    training_step(network, images, labels)()
    assert not any(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_every_peer_has_both_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "host_networks", lambda name: {"torchvision": nn.Linear(2, 2)})
    names = [name for name, *_ in calls_in("cpu", bf16=False)]
    assert names == [
        "ResNet-50 training step, fp32 (peer: torchvision)",
        "ResNet-50 inference, fp32 (peer: torchvision)",
    ]
