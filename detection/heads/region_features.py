"""What is read of every region: conv5's output, or a pooled grid and two fully connected layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backbones.features import StageHead
from backbones.spec import FeatureSpec
from detection.heads.onednn_linear import OneDnnLinear
from detection.heads.roi_pooling import pool_regions
from foundation.errors import UserError


class StageRegions(nn.Module):
    """RoI pooling before conv5_1, conv5, average pooling (He et al. 2015, appendix A); of VGG fc6 and fc7.

    The paper takes the maximum over rounded bins; this is RoIAlign (He et al. 2017), aligned to half pixels,
    with 2x2 samples a bin whatever the region's size.

    Args:
        head: the stages after the shared ones.
        spec: of the shared feature map.
        size, aligned: height and width of the pooled grid, and how it is read.

    Raises:
        UserError: the head does not take the feature map's channels.
        OptionError: it does not take the pooled grid.
    """

    levels = 1

    def __init__(self, head: StageHead, spec: FeatureSpec, *, size: int, aligned: bool = True) -> None:
        super().__init__()
        if head.in_channels != spec.channels:
            raise UserError(
                f"the head takes {head.in_channels} channels, the feature map has {spec.channels}; "
                "make both with one call of create_trunk_and_head"
            )
        self.head, self.spec, self.size, self.aligned = head, spec, size, aligned
        (self.out_channels,) = (last.channels for last in head.feature_specs.values())
        self.map_channels, training = self.out_channels, head.training
        with torch.no_grad():  # a region as a trial says how many pixels a side the head gives
            region = next(head.parameters()).new_zeros(1, head.in_channels, size, size)
            self.map_size = head.eval()(region).shape[-1]
        head.train(training)

    def maps(self, features: Sequence[Tensor], boxes: Tensor, size: int | None = None) -> Tensor:
        """Features (N, C, H, W) and boxes (N, R, 4) in pixels → conv5 of every region, (N · R, C', h, w).

        `size` is that of the pooled grid, if not the usual one.
        """
        grid, strides = size or self.size, [self.spec.stride]
        return self.head(pool_regions(features, strides, boxes, grid, aligned=self.aligned))

    def vectors(self, maps: Tensor) -> Tensor:
        """What `maps` returns → (N · R, out_channels)."""
        return maps.mean(dim=(2, 3))


class PooledRegions(nn.Module):
    """RoI pooling to a square grid, then two fully connected layers of `channels` (Lin et al. 2017)."""

    def __init__(self, specs: Sequence[FeatureSpec], *, size: int, aligned: bool, channels: int) -> None:
        super().__init__()
        self.strides, self.size, self.aligned = [spec.stride for spec in specs], size, aligned
        self.levels, self.map_channels, self.out_channels = len(specs), specs[0].channels, channels
        self.fc6 = OneDnnLinear(self.map_channels * size**2, channels)
        self.fc7 = OneDnnLinear(channels, channels)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def maps(self, features: Sequence[Tensor], boxes: Tensor, size: int | None = None) -> Tensor:
        """Features (N, C, H, W) and boxes (N, R, 4) in pixels → every region, (N · R, C, size, size).

        Features without a stride, as a pyramid's pooled top, are left out.
        """
        maps, grid = features[: len(self.strides)], size or self.size
        return pool_regions(maps, self.strides, boxes, grid, aligned=self.aligned)

    def vectors(self, maps: Tensor) -> Tensor:
        """What `maps` returns → (N · R, out_channels)."""
        return self.fc7(self.fc6(maps.flatten(1)).relu()).relu()
