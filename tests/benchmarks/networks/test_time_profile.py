"""Operations by kind, and all of the time is accounted for. No timing decides here."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.networks.time_profile import BETWEEN, KINDS, kind_of, outermost_kind, shares


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::conv2d", "convolutions"),
        ("aten::convolution_backward", "convolutions"),
        ("mkldnn::_convolution_pointwise", "convolutions"),
        ("aten::addmm", "matrix products"),
        ("aten::addcmul", "normalisation, ReLU, others"),
        ("aten::native_batch_norm", "normalisation, ReLU, others"),
        ("torchvision::roi_align", "pooling, RoIAlign"),
        ("torchvision::nms", "NMS, sorting"),
        ("Optimizer.step#SGD.step", "optimiser"),
        ("autograd::engine::evaluate_function: ConvolutionBackward0", None),
        ("ConvolutionBackward0", None),
        ("_Linear", None),
        ("mkldnn::_linear_pointwise", "matrix products"),
    ],
)
def test_kinds(name: str, kind: str | None):
    assert kind_of(name) == kind


def test_a_step_is_divided():
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)
    )
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    images = torch.randn(4, 3, 3, 3)

    def step() -> None:
        network(images).square().mean().backward()
        optimizer.step()

    found = shares(step)
    assert [*found] == [*KINDS, BETWEEN] and sum(found.values()) == pytest.approx(1)
    for kind in ("convolutions", "matrix products", "optimiser", "normalisation, ReLU, others"):
        assert found[kind] > 0
    assert found["NMS, sorting"] == found["pooling, RoIAlign"] == 0
    assert min(found.values()) >= 0


def test_what_an_operation_calls_counts_with_it():
    images = torch.ones(1, 2, 4, 4)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        nn.functional.adaptive_avg_pool2d(images, 1)  # which takes a mean
    assert {outermost_kind(event) for event in profiler.events()} == {"pooling, RoIAlign"}
