"""Both sides of the comparison compute the same. No timing decides here."""

import numpy as np
import pytest

from benchmarks import segmentation_speed as module
from benchmarks.segmentation_speed import count_by_bincount, count_maps, segmentation_calls


def test_every_pair_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "NETWORKS", ("fcn_resnet50",))
    calls = list(segmentation_calls("cpu", side=33, maps=3, size=(40, 50)))
    assert [name.split(":")[0].split(" (")[0] for name, _, _ in calls] == [
        "fcn_resnet50, 2 crops of 33",
        "fcn_resnet50, one picture of 33",
        "confusion matrix of 3 maps of 40x50",
    ]
    assert (calls[1][1]() == calls[1][2]()).float().mean() > 0.99
    assert calls[0][1]() is None and calls[0][2]() is None  # steps, which change the normalisation
    assert np.array_equal(calls[2][1](), calls[2][2]())


def test_counting_by_hand():
    truth = [np.array([[0, 1, 255]], dtype=np.uint8)]
    found = [np.array([[0, 2, 3]], dtype=np.uint8)]
    for count in (count_maps, count_by_bincount):
        matrix = count(truth, found)
        assert matrix.sum() == 2 and matrix[0, 0] == 1 and matrix[1, 2] == 1
