"""Both sides do the same work; no timing decides here."""

import pytest
import torch

from analysis.lesions import LesionOptions, measure_lesions
from backbones import create_model
from backbones.norm import calibrate_batchnorm
from benchmarks.analysis_speed import analysis_calls, delete_each, noise


def test_both_find_the_same_errors():
    torch.manual_seed(0)
    network = create_model("resnet14_cifar")
    batches = list(noise(100, "cpu"))
    calibrate_batchnorm(network, [images for images, _ in batches])
    network.eval()
    with torch.no_grad():
        network.fc.bias -= network(batches[0][0]).mean(0)  # else it may answer with one class alone
    found = measure_lesions(network, noise(200, "cpu"), LesionOptions(deleted=(), swapped=()), 0)
    # But for a picture on the edge: one side folds normalisation, and each stands twice among the 200.
    assert found["single_error"].tolist() == pytest.approx(delete_each(network, 200, "cpu"), abs=1.001)
    assert len(set(found["single_error"].tolist())) > 1  # or the comparison would say nothing


def test_batches_hold_as_many_pictures_as_are_said():
    batches = list(noise(300, "cpu"))
    assert [images.shape for images, _ in batches] == [torch.Size([100, 3, 32, 32])] * 3
    assert [name.partition(":")[0] for name, _, _ in analysis_calls("cpu")] == [
        "resnet20_cifar",
        "resnet56_cifar",
    ]
