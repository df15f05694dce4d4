"""Every peer answers as ours does. No timing decides here."""

import pytest
import torch

from benchmarks import inference_speed as module
from benchmarks.detectors import peers
from benchmarks.inference_speed import inference_calls


def test_classifiers_answer_alike(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(module, "CLASSIFIERS", ("resnet18",))
    monkeypatch.setattr(module, "DETECTORS", ())
    names = []
    for name, ours, peer in inference_calls(side=64):
        names.append(name)
        torch.testing.assert_close(peer(), ours(), rtol=1e-3, atol=1e-3)
    assert [name.partition("peer: ")[2] for name in names] == [
        "torchvision)",
        "torchvision in channels_last)",
        "ONNX Runtime on our export)",
    ]


@pytest.mark.slow
def test_detectors_find_the_same(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(peers, "NETWORK", "resnet18")
    monkeypatch.setattr(module, "CLASSIFIERS", ())
    monkeypatch.setattr(module, "DETECTORS", ("fpn",))
    rows = list(inference_calls(size=(96, 128)))
    assert [name for name, *_ in rows] == [
        "Faster R-CNN FPN: 2 pictures of 96x128 (peer: ONNX Runtime on our export)",
    ]
