"""FLOPs are the paper's multiply-adds twice, and rates become shares. No timing decides here."""

import pytest
import torch

from backbones import create_model
from backbones.complexity import multiply_adds
from benchmarks.networks import roofline as module
from benchmarks.networks.own_work import Work
from benchmarks.networks.roofline import Rates, counted_work, measured_rates, roofline_notes
from detection.heads.onednn_linear import OneDnnLinear


def test_a_multiply_add_is_two():
    network = create_model("resnet18").eval()
    with torch.inference_mode():
        counted = counted_work(lambda: network(torch.randn(2, 3, 64, 64)))
    assert counted == 2 * 2 * multiply_adds(network, 64)


@pytest.mark.parametrize("kind", [torch.nn.Linear, OneDnnLinear])
def test_gradients_are_counted(kind: type[torch.nn.Linear]):
    # 2 pictures, 3 to 4 features: 2·2·3·4 = 48 forward, and as many for the gradient of the weight.
    linear = kind(3, 4, bias=False)
    assert counted_work(lambda: linear(torch.randn(2, 3)).sum().backward()) == 96


def test_rates(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "seconds_of", lambda call: (call(), 0.5)[1])
    monkeypatch.setattr(module, "MATRIX", 100)
    monkeypatch.setattr(module, "COPIED", 10**6)
    monkeypatch.setattr(module, "CONVOLUTIONS", ((2, 3, 4, 1), (2, 3, 8, 1)))
    rates = measured_rates()
    assert rates.matrix == pytest.approx(2 * 100**3 / 0.5 / 1e9)
    assert rates.copy == pytest.approx(2 * 10**6 / 0.5 / 1e9)  # read and written
    assert rates.convolution == pytest.approx(2 * 8 * 64 * 2 * 3 / 0.5 / 1e9) and "8²" in rates.shape


def test_shares(monkeypatch: pytest.MonkeyPatch):
    matrix = torch.randn(10, 10)

    def product() -> None:
        torch.mm(matrix, matrix)

    monkeypatch.setattr(module, "measured_rates", lambda: Rates(5e-6, 1e-5, "1×1", 1e-6))
    monkeypatch.setattr(module, "own_work", lambda: iter([Work("net", product, product)]))
    monkeypatch.setattr(module, "seconds_of", lambda call: 0.5)
    rates, reached, spent = roofline_notes()
    assert "less than 10 FLOP a byte" in rates
    # 2·10³ FLOP in half a second are 4e-6 GFLOP/s, of 1e-5 at most.
    assert reached.splitlines()[2] == "| net | 0.0 | 500 | 0 | 40 |"
    assert spent.splitlines()[2].startswith("| net | 0 | 0 |")
