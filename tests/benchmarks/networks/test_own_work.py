"""What is timed computes what is counted. No timing decides here."""

import pytest
import torch

from benchmarks.detectors import peers
from benchmarks.networks import own_work as module
from benchmarks.networks.own_work import inference, own_work


def test_the_timed_copy_answers_as_the_counted_network():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
    work = inference("x", network, torch.randn(2, 3, 8, 8))
    torch.testing.assert_close(work.call(), work.counted(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_all_work_can_be_called(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(peers, "NETWORK", "resnet18")
    monkeypatch.setattr(module, "CLASSIFIERS", {"resnet18": "ResNet-18"})
    monkeypatch.setattr(module, "KINDS", {"fpn": "FPN"})
    names = []
    for work in own_work(size=(96, 128)):
        names.append(work.name)
        work.call(), work.counted()
    assert names == [
        "ResNet-18: inference of 8 pictures",
        "ResNet-50: training step of 8 pictures",
        "resnet20_cifar: 4 training steps of 128 pictures",
        "FPN: inference",
        "FPN: training step",
    ]
