"""A pyramid on a single feature map (Li et al. 2022, "Exploring Plain Vision Transformer Backbones")."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from backbones.features import FeatureNetwork
from backbones.spec import FeatureSpec
from foundation.errors import OptionError

_EPS = 1e-6  # of layer normalisation, as in the authors' code


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of every place of a map (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1)
        return F.layer_norm(rows, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class SimplePyramid(nn.Module):
    """Maps of strides 4, 8, 16 and 32 made of one map of stride 16, with a pooled level on top.

    The map is scaled by two deconvolutions, by one, not at all, and by max pooling; then comes for each
    level a 1x1 and a 3x3 convolution, each with layer normalisation. Nothing is added from level to level.

    Attributes:
        feature_specs: "0", "1", …, and "pool" → channels and stride, as `backbones.pyramid.Pyramid` has.
        input_spec, out_channels: of the network, and of every level.
    Raises:
        OptionError: the network gives more than one map, or one of another stride than 16.
    """

    def __init__(self, network: FeatureNetwork, out_channels: int = 256) -> None:
        super().__init__()
        specs = list(network.feature_specs.values())
        strides = [spec.stride for spec in specs]
        if strides != [16]:
            raise OptionError(
                f"a simple pyramid needs one map of stride 16, {network.name} gives strides {strides}; "
                "ask it for one such feature, or use backbones.pyramid.Pyramid"
            )
        channels = specs[0].channels
        self.body = network
        self.levels = nn.ModuleList(
            nn.Sequential(*scaling, *_projection(width, out_channels))
            for scaling, width in (
                (_quadrupled(channels), channels // 4),
                ((nn.ConvTranspose2d(channels, channels // 2, 2, 2),), channels // 2),
                ((), channels),
                ((nn.MaxPool2d(2),), channels),
            )
        )
        self.top = LastLevelMaxPool()
        self.out_channels, self.input_spec = out_channels, network.input_spec
        names = ("0", "1", "2", "3", "pool")
        self.feature_specs = {name: FeatureSpec(out_channels, 4 << level) for level, name in enumerate(names)}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) normalised pictures, multiples of 32 → {level: (N, out_channels, h, w)}."""
        (features,) = self.body(images).values()
        maps = [level(features) for level in self.levels]
        maps, names = self.top(maps, [], ["0", "1", "2", "3"])
        return dict(zip(names, maps, strict=True))


def _quadrupled(channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.ConvTranspose2d(channels, channels // 2, 2, 2),
        ChannelNorm(channels // 2, _EPS),
        nn.GELU(),
        nn.ConvTranspose2d(channels // 2, channels // 4, 2, 2),
    )


def _projection(channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    """The two convolutions, without biases, which the normalisation behind them has."""
    return (
        nn.Conv2d(channels, out_channels, 1, bias=False),
        ChannelNorm(out_channels, _EPS),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        ChannelNorm(out_channels, _EPS),
    )
