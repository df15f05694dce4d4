"""Dilated convolutions side by side, DeepLabv3+'s decoder, pyramid pooling."""

import pytest
import torch
from torch import nn

from foundation.errors import OptionError
from segmentation.model.context_heads import (
    Aspp,
    DeepLabPlusHead,
    PooledBranch,
    PyramidPoolingHead,
    deeplabv3_head,
)


@pytest.mark.parametrize(("output_stride", "rates"), [(32, (3, 6, 9)), (16, (6, 12, 18)), (8, (12, 24, 36))])
def test_rates_follow_the_output_stride(output_stride: int, rates: tuple[int, ...]):
    aspp = Aspp(4, output_stride)
    assert tuple(branch[0].dilation[0] for branch in aspp.convs[1:4]) == rates
    assert aspp(torch.randn(2, 4, 5, 7)).shape == (2, 256, 5, 7)


def test_a_pooled_branch_is_the_average_everywhere():
    branch = PooledBranch(1, 1, bins=1).eval()
    nn.init.constant_(branch[1].weight, 2.0)
    x = torch.tensor([[1.0, 3.0], [4.0, 8.0]]).view(1, 1, 2, 2)
    # The average is 4, its double 8; the statistics at the start are 0 and 1.
    assert branch(x).flatten().tolist() == pytest.approx([8 / (1 + 1e-5) ** 0.5] * 4)


def test_one_picture_a_step_is_refused_where_its_average_is_normalised():
    head = deeplabv3_head(4, 3, 16)
    with pytest.raises(OptionError, match="here is one; train with at least two on each device"):
        head(torch.randn(1, 4, 5, 5))
    assert head(torch.randn(2, 4, 5, 5)).shape == (2, 3, 5, 5)
    assert head.eval()(torch.randn(1, 4, 5, 5)).shape == (1, 3, 5, 5)


def test_the_decoder_of_deeplabv3plus():
    head = DeepLabPlusHead((16, 32), 3, 16)
    assert head.project[0].weight.shape == (48, 16, 1, 1)
    assert head.decoder[0].weight.shape == (256, 256 + 48, 3, 3)
    assert head(torch.randn(2, 16, 9, 13), torch.randn(2, 32, 3, 4)).shape == (2, 3, 9, 13)


def test_both_maps_of_the_decoder_count():
    head = DeepLabPlusHead((4, 4), 2, 16).eval()
    fine, coarse = torch.randn(1, 4, 8, 8, requires_grad=True), torch.randn(1, 4, 2, 2, requires_grad=True)
    head(fine, coarse).square().sum().backward()
    assert fine.grad.abs().sum() > 0 and coarse.grad.abs().sum() > 0


def test_pyramid_pooling():
    head = PyramidPoolingHead(64, 3)
    assert [branch[0].bins for branch in head.branches] == [1, 2, 3, 6]
    # The map of 64 channels beside four of 16.
    assert head.fuse[0].weight.shape == (16, 64 + 4 * 16, 3, 3)
    assert head(torch.randn(2, 64, 5, 7)).shape == (2, 3, 5, 7)
