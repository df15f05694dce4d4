"""Faster R-CNN and Mask R-CNN on whole backbones: a feature pyramid, or a dilated conv5 (DC5)."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from backbones.features import FeatureNetwork
from backbones.pyramid import Pyramid
from backbones.spec import FeatureSpec
from detection.model.c4 import only_spec
from detection.model.detector import FasterRCNN
from detection.model.mask_head import MaskHead
from detection.model.roi_heads import RoiHeads
from detection.model.roi_pooling import pool_regions
from detection.model.rpn import RegionProposalNetwork
from foundation.errors import UserError

PYRAMID_STRIDES = (4, 8, 16, 32)  # what RoI pooling's rule for the level of a region takes for granted


class PooledRegions(nn.Module):
    """RoI pooling, then two fully connected layers (Lin et al. 2017).

    Args:
        specs: of the feature maps regions are pooled from.
        size: height and width of the pooled grid.
        channels: of both layers.
    """

    def __init__(self, specs: Sequence[FeatureSpec], *, size: int = 7, channels: int = 1024) -> None:
        super().__init__()
        self.strides, self.size = [spec.stride for spec in specs], size
        self.map_channels, self.out_channels = specs[0].channels, channels
        self.fc6 = nn.Linear(self.map_channels * size**2, channels)
        self.fc7 = nn.Linear(channels, channels)
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def maps(self, features: Sequence[Tensor], boxes: Tensor, size: int | None = None) -> Tensor:
        """Features (N, C, H, W) and boxes (N, R, 4) in pixels → every region, (N · R, C, size, size).

        Features without a stride, as a pyramid's pooled top, are left out.
        """
        return pool_regions(features[: len(self.strides)], self.strides, boxes, size or self.size)

    def vectors(self, maps: Tensor) -> Tensor:
        """What `maps` returns → (N · R, out_channels)."""
        return self.fc7(self.fc6(maps.flatten(1)).relu()).relu()


def build_fpn(
    network: FeatureNetwork,
    num_classes: int,
    *,
    pyramid_channels: int = 256,
    roi_size: int = 7,
    roi_channels: int = 1024,
    rpn: Mapping[str, Any] | None = None,
    roi: Mapping[str, Any] | None = None,
    mask: Mapping[str, Any] | None = None,
) -> FasterRCNN:
    """A pyramid on four feature maps, proposals from all its levels and a fifth, regions from the four.

    Args:
        network: with features of strides 4, 8, 16 and 32.
        num_classes: K, without background.
        pyramid_channels: of every level.
        roi_size: height and width of the pooled grid.
        roi_channels: of the two fully connected layers.
        rpn: keywords of RegionProposalNetwork; by default one anchor size a level, 32 … 512.
        roi: keywords of RoiHeads.
        mask: keywords of MaskHead, and `size` of the grid it takes; None makes no masks.

    Raises:
        UserError: the features have other strides.
    """
    strides = tuple(spec.stride for spec in network.feature_specs.values())
    if strides != PYRAMID_STRIDES:
        raise UserError(
            f"detector.kind=fpn needs features of strides {PYRAMID_STRIDES}, {network.name} gives {strides}; "
            "choose another backbone or detector.kind=c4"
        )
    trunk = Pyramid(network, pyramid_channels)
    rpn = {"anchor_sizes": (32.0, 64.0, 128.0, 256.0, 512.0), "channels": pyramid_channels, **(rpn or {})}
    levels = list(trunk.feature_specs.values())
    regions = PooledRegions(levels[: len(strides)], size=roi_size, channels=roi_channels)
    return _assemble(trunk, levels, regions, num_classes, rpn, roi, mask)


def build_dc5(
    network: FeatureNetwork,
    num_classes: int,
    *,
    roi_size: int = 7,
    roi_channels: int = 1024,
    rpn: Mapping[str, Any] | None = None,
    roi: Mapping[str, Any] | None = None,
    mask: Mapping[str, Any] | None = None,
) -> FasterRCNN:
    """Everything from one map, conv5 of stride 16 (Dai et al. 2017); arguments as of `build_fpn`.

    Raises:
        UserError: the network gives more than one feature map.
    """
    spec = only_spec(network)
    regions = PooledRegions([spec], size=roi_size, channels=roi_channels)
    return _assemble(network, [spec], regions, num_classes, rpn, roi, mask)


def _assemble(
    trunk: FeatureNetwork | Pyramid,
    specs: Sequence[FeatureSpec],
    regions: PooledRegions,
    num_classes: int,
    rpn: Mapping[str, Any] | None,
    roi: Mapping[str, Any] | None,
    mask: Mapping[str, Any] | None,
) -> FasterRCNN:
    options = dict(mask or {})
    mask_size = options.pop("size", 14)
    mask_head = None if mask is None else MaskHead(regions.map_channels, num_classes, **options)
    roi_heads = RoiHeads(regions, num_classes, mask_head=mask_head, mask_size=mask_size, **(roi or {}))
    return FasterRCNN(trunk, RegionProposalNetwork(specs, **(rpn or {})), roi_heads)
