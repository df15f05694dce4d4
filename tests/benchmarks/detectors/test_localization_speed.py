"""Both sides of the comparison are the same step, and memory is counted. No timing decides here."""

import pytest
import torch

from backbones.spec import FeatureSpec
from benchmarks.detectors import localization_speed as module
from benchmarks.detectors.localization_speed import localization_calls, localization_memory


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLASSES", 20)
    monkeypatch.setattr(module, "FEATURES", FeatureSpec(16, 32))


def test_both_steps_have_the_same_losses():
    ((name, ours, peer),) = localization_calls("cpu")
    assert name.startswith("per-class RPN, 20 classes, 8 crops of 224")
    first, second = ours(), peer()
    assert first.keys() == second.keys() and all(value > 0 for value in first.values())
    for loss, value in first.items():
        torch.testing.assert_close(value, second[loss], rtol=1e-3, atol=1e-5)


def test_memory_of_both_steps():
    *_, row = localization_memory("cpu").splitlines()
    _, name, ours, peer, _, _ = row.split("|")
    assert "32 crops" in name and float(peer) > float(ours) > 0
