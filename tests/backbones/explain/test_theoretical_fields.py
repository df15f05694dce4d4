"""Theoretical receptive fields beside the closed form, and of networks whose fields are known."""

import math
from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from backbones import create_backbone, create_model
from backbones.explain.theoretical_fields import Field, find_fields, find_offsets, middle_cells
from backbones.features import FeatureNetwork
from backbones.norm import inference_copy
from backbones.pyramid import Pyramid

CPU = torch.device("cpu")


def field_of(module: nn.Module, stride: int) -> Field:
    return find_fields(lambda images: {"map": module(images)}, {"map": stride}, CPU)["map"]


def chain(layers: list[tuple[int, int, int]]) -> nn.Sequential:
    """Convolutions of kernel, stride and dilation, each padded with half its kernel."""
    return nn.Sequential(
        *(
            nn.Conv2d(3, 3, kernel, stride, dilation * (kernel - 1) // 2, dilation)
            for kernel, stride, dilation in layers
        )
    )


def closed_form(layers: list[tuple[int, int, int]]) -> int:
    """1 + Σ (k − 1) · d · j, j the product of the strides before."""
    kernels, strides, dilations = zip(*layers, strict=True)
    steps = accumulate(strides[:-1], lambda j, stride: j * stride, initial=1)
    return 1 + sum((k - 1) * d * j for k, d, j in zip(kernels, dilations, steps, strict=True))


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_one_convolution(kernel):
    assert field_of(chain([(kernel, 1, 1)]), 1) == (1, kernel, 0)


def test_stacks_dilation_and_stride_by_hand():
    assert field_of(chain([(3, 1, 1)] * 5), 1) == (1, 11, 0)  # 2n + 1
    assert field_of(chain([(3, 1, 4)]), 1) == (1, 9, 0)
    assert field_of(chain([(3, 2, 1), (3, 1, 1)]), 2) == (2, 7, 0)  # the second layer's taps are 2 apart
    # Without padding the first cell sees pixels 0, 1 and 2, whose middle is 1.
    assert field_of(nn.Conv2d(3, 3, 3, stride=2), 2) == (2, 3, 1)
    # Pooling two by two looks at pixels 0 and 1: half a pixel off.
    assert field_of(nn.MaxPool2d(2), 2) == (2, 2, 0.5)
    assert field_of(nn.AvgPool2d(2), 2) == (2, 2, 0.5)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 2]), st.sampled_from([1, 2, 3])),
        min_size=1,
        max_size=5,
    )
)
def test_chains_obey_the_closed_form(layers):
    stride = math.prod(stride for _, stride, _ in layers)
    assert field_of(chain(layers), stride) == (stride, closed_form(layers), 0)


class Sum(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(branch(x) for branch in self.branches)


def test_of_two_branches_the_larger_one_counts():
    block = Sum(chain([(3, 1, 1), (3, 1, 1)]), nn.Identity())
    assert field_of(nn.Sequential(block, block), 1) == (1, 9, 0)
    shifted = nn.Sequential(nn.ZeroPad2d((2, -2, 0, 0)), nn.Identity())  # the pixel two to the left
    # Pixels −2 and −1 … 1: together −2 … 1.
    assert field_of(Sum(shifted, chain([(3, 1, 1)])), 1) == (1, 4, -0.5)


def test_weights_of_zero_and_groups_do_not_matter():
    layer = nn.Conv2d(3, 6, 3, padding=1, groups=3)
    nn.init.zeros_(layer.weight)
    assert field_of(layer, 1) == (1, 3, 0)


# Of resnet50 with the stride on the 1x1 convolution, 483 pixels are known since TF-slim, which strides late;
# of VGG-16's conv5_3 196. The others follow from the closed form along the residual branches: ResNet-50
# 7 → 11 (pooling) → + 3 · 8 = 35 → + 8 + 3 · 16 = 91 → + 16 + 5 · 32 = 267 → + 32 + 2 · 64 = 427.
KNOWN = {
    "resnet50": [7, 35, 91, 267, 427],
    "resnet18": [7, 43, 99, 211, 435],
    "vgg16": [5, 14, 40, 92, 196],
    # 3 + 4n at stride 1, then 2 + 2 (2n − 1) · 2 and 4 + (2n − 1) · 8 with n = 3.
    "resnet20_cifar": [3, 15, 37, 81],
    "preact_resnet20_cifar": [3, 15, 37, 81],
}


@pytest.mark.parametrize("name", KNOWN)
def test_networks(name):
    network = create_model(name).eval()
    features = FeatureNetwork(network, list(network.feature_specs))
    strides = {key: spec.stride for key, spec in network.feature_specs.items()}
    found = find_fields(features, strides, CPU)
    assert [field.size for field in found.values()] == KNOWN[name]
    assert {field.stride for field in found.values()} == set(strides.values())
    # Our networks pad evenly, so that cells look at multiples of their stride, where anchors are; VGG pools.
    offsets = {field.offset for field in found.values()}
    assert offsets == ({0, 0.5, 1.5, 3.5, 7.5} if name == "vgg16" else {0})


def test_the_papers_stride_sees_further_and_dilation_as_far():
    caffe = create_backbone("resnet50", out_features=("res5",), stride_on="1x1").eval()
    assert find_fields(caffe, {"res5": 32}, CPU)["res5"].size == 483
    dilated = create_backbone("resnet50", out_features=("res5",), dilation=("res5",)).eval()
    # As 427, but that the first 3x3 convolution reads its neighbours at stride 16, as before.
    assert find_fields(dilated, {"res5": 16}, CPU)["res5"].size == 427


def test_a_copy_for_inference_sees_the_same():
    features = create_backbone("resnet18", out_features=("res4",)).eval()
    assert find_fields(inference_copy(features), {"res4": 16}, CPU) == find_fields(
        features, {"res4": 16}, CPU
    )
    assert find_offsets(features) == {"res4": 0.0}


def test_a_pyramid_sees_as_far_as_its_top():
    body = create_backbone("resnet18", out_features=("res2", "res3", "res4", "res5"))
    pyramid = Pyramid(body, 8).eval()
    strides = {name: spec.stride for name, spec in pyramid.feature_specs.items()}
    found = find_fields(pyramid, strides, CPU)
    # The 3x3 convolution on P5 adds 2 · 32. A cell of P4 in the middle reads P4 on both sides of it, and so
    # two cells of res5, 32 pixels apart, of which the middle lies 16 pixels before the cell.
    assert (found["3"].size, found["pool"].size) == (435 + 64, 435 + 64)
    assert found["2"] == (16, 435 + 32, -16) and found["0"] == (4, 435 + 32, -16)


def test_what_looks_at_means_sees_the_whole_picture():
    class Excite(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x.mean((2, 3), keepdim=True)

    assert math.isinf(field_of(Excite(), 1).size)


@pytest.mark.parametrize("name", ["resnet8_cifar", "plain8_cifar"])
def test_no_gradient_leads_further(name):
    torch.manual_seed(0)
    network = create_model(name).double().eval()
    features = FeatureNetwork(network, ["res4"])
    field = find_fields(lambda images: features(images.double()), {"res4": 4}, CPU)["res4"]
    x = torch.randn(20, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    middle_cells(features(x)["res4"]).sum().backward()
    columns = (x.grad != 0).any(0).any(0).any(0).nonzero().flatten()
    assert field.size == 25 and columns[0] == 32 - 12 and columns[-1] == 32 + 12
