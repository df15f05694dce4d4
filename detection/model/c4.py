"""Faster R-CNN on conv4 (He et al. 2015, appendix A): conv1–conv4 shared, conv5 and up for every region."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from backbones.features import FeatureNetwork, StageHead
from backbones.spec import FeatureSpec
from detection.model.detector import FasterRCNN
from detection.model.mask_head import MaskHead
from detection.model.roi_heads import RoiHeads
from detection.model.roi_pooling import pool_regions
from detection.model.rpn import RegionProposalNetwork
from foundation.errors import UserError


class StageRegions(nn.Module):
    """RoI pooling before conv5_1, conv5, average pooling; of VGG fc6 and fc7.

    The paper takes the maximum over rounded bins; this is RoIAlign (He et al. 2017), aligned to half pixels,
    with 2x2 samples a bin whatever the region's size.

    Args:
        head: the stages after the shared ones.
        spec: of the shared feature map.
        size: height and width of the pooled grid.

    Raises:
        UserError: the head does not take the feature map's channels.
        OptionError: it does not take the pooled grid.
    """

    def __init__(self, head: StageHead, spec: FeatureSpec, *, size: int = 14) -> None:
        super().__init__()
        if head.in_channels != spec.channels:
            raise UserError(
                f"the head takes {head.in_channels} channels, the feature map has {spec.channels}; "
                "make both with one call of create_trunk_and_head"
            )
        self.head, self.spec, self.size = head, spec, size
        (self.out_channels,) = (last.channels for last in head.feature_specs.values())
        self.map_channels, self.map_size = self.out_channels, self._probe()

    @torch.no_grad()
    def _probe(self) -> int:
        """Pixels a side of what the head makes of a region."""
        training = self.head.training
        parameter = next(self.head.parameters())
        regions = parameter.new_zeros(1, self.head.in_channels, self.size, self.size)
        size = self.head.eval()(regions).shape[-1]
        self.head.train(training)
        return size

    def maps(self, features: Sequence[Tensor], boxes: Tensor, size: int | None = None) -> Tensor:
        """Features (N, C, H, W) and boxes (N, R, 4) in pixels → conv5 of every region, (N · R, C', h, w).

        Args:
            size: of the pooled grid, if not the usual one.
        """
        return self.head(pool_regions(features, [self.spec.stride], boxes, size or self.size))

    def vectors(self, maps: Tensor) -> Tensor:
        """What `maps` returns → (N · R, out_channels)."""
        return maps.mean(dim=(2, 3))


def build_c4(
    trunk: FeatureNetwork,
    head: StageHead,
    num_classes: int,
    *,
    roi_size: int = 14,
    rpn: Mapping[str, Any] | None = None,
    roi: Mapping[str, Any] | None = None,
    mask_channels: int | None = None,
) -> FasterRCNN:
    """Puts the detector of appendix A together.

    Args:
        trunk, head: as `create_trunk_and_head` returns.
        num_classes: K, without background.
        roi_size: height and width of the pooled grid.
        rpn: keywords of RegionProposalNetwork.
        roi: keywords of RoiHeads.
        mask_channels: of the mask head, which reads conv5's output (He et al. 2017, figure 4); None makes no
            masks.

    Raises:
        UserError: the trunk gives more than one feature map; the head leaves nothing to make masks of.
    """
    spec = only_spec(trunk)
    regions = StageRegions(head, spec, size=roi_size)
    mask_head = None
    if mask_channels is not None:
        if regions.map_size == 1:
            raise UserError(
                f"detector.mask needs a map of every region, the head of {head.name} gives a vector; choose "
                "another backbone, or detector.kind=dc5 or fpn"
            )
        mask_head = MaskHead(regions.map_channels, num_classes, channels=mask_channels, convolutions=0)
    roi_heads = RoiHeads(regions, num_classes, mask_head=mask_head, **(roi or {}))
    return FasterRCNN(trunk, RegionProposalNetwork([spec], **(rpn or {})), roi_heads)


def only_spec(trunk: FeatureNetwork) -> FeatureSpec:
    """The specification of the trunk's one feature map.

    Raises:
        UserError: there are several.
    """
    if len(trunk.feature_specs) != 1:
        raise UserError(
            f"this detector reads one feature map, the trunk gives {list(trunk.feature_specs)}; ask for one"
        )
    return next(iter(trunk.feature_specs.values()))
