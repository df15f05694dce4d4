"""The pyramid on one map: shapes and strides, parameters counted by hand, normalisation over channels."""

import pytest
import torch

from backbones import FeatureSpec, OptionError, create_backbone
from backbones.simple_pyramid import ChannelNorm, SimplePyramid


@pytest.fixture(scope="module")
def pyramid() -> SimplePyramid:
    torch.manual_seed(0)
    return SimplePyramid(create_backbone("timm/vit_tiny_patch16_224", out_features=("res4",)), 16)


def test_five_levels_of_one_width(pyramid: SimplePyramid):
    strides = {"0": 4, "1": 8, "2": 16, "3": 32, "pool": 64}
    assert pyramid.feature_specs == {name: FeatureSpec(16, stride) for name, stride in strides.items()}
    assert pyramid.out_channels == 16 and pyramid.input_spec == pyramid.body.input_spec
    maps = pyramid(torch.randn(2, 3, 64, 128))
    assert {name: tuple(level.shape) for name, level in maps.items()} == {
        "0": (2, 16, 16, 32),
        "1": (2, 16, 8, 16),
        "2": (2, 16, 4, 8),
        "3": (2, 16, 2, 4),
        "pool": (2, 16, 1, 2),
    }
    assert torch.equal(maps["pool"], maps["3"][..., ::2, ::2])


def test_parameters_counted_by_hand(pyramid: SimplePyramid):
    """C = 192 channels of the transformer, D = 16 of the pyramid.

    Each level ends in a 3x3 convolution, 9·16² = 2,304, and two normalisations, 2·(2·16) = 64: 2,368.
    Stride 4:  4·192·96 + 96 and 4·96·48 + 48 deconvolve, 2·96 normalise, 48·16 project: 73,824 + 18,480 +
               192 + 768 = 93,264. Stride 8: 73,824 and 96·16 = 75,360. Strides 16 and 32: 192·16 = 3,072.
    """
    counts = [sum(parameter.numel() for parameter in level.parameters()) for level in pyramid.levels]
    assert counts == [95_632, 77_728, 5_440, 5_440]


def test_every_place_is_normalised_over_its_channels():
    x = torch.tensor([3.0, 1.0, 5.0, 7.0]).view(1, 4, 1, 1) * torch.tensor([1.0, 10.0])  # mean 4, variance 5
    expected = torch.tensor([-1.0, -3.0, 1.0, 3.0]).view(1, 4, 1, 1) / 5**0.5
    torch.testing.assert_close(ChannelNorm(4, 1e-6)(x), expected.expand(1, 4, 1, 2), rtol=1e-5, atol=1e-5)


def test_gradients_reach_the_patch_embedding(pyramid: SimplePyramid):
    weight = pyramid.get_parameter("body.body.transformer.patch_embed.proj.weight")
    pyramid(torch.randn(1, 3, 64, 64))["0"][:, 0].sum().backward()  # all channels together would cancel
    assert weight.grad is not None and weight.grad.abs().sum() > 0


def test_a_convolutional_map_of_stride_16_serves_too():
    maps = SimplePyramid(create_backbone("resnet18", out_features=("res4",)), 8)(torch.randn(1, 3, 64, 64))
    assert maps["0"].shape == (1, 8, 16, 16)


def test_other_maps_are_refused():
    network = create_backbone("resnet18", out_features=("res3", "res4"))
    with pytest.raises(OptionError, match=r"one map of stride 16, resnet18 gives strides \[8, 16\]"):
        SimplePyramid(network)
