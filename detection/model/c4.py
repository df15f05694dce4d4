"""Faster R-CNN on conv4 (He et al. 2015, appendix A): conv1–conv4 shared, conv5 and up for every region."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from backbones.features import FeatureNetwork, StageHead
from backbones.spec import FeatureSpec
from detection.model.detector import FasterRCNN, only_feature
from detection.model.roi_heads import RoiHeads
from detection.model.rpn import RegionProposalNetwork
from engine.errors import UserError


class RegionFeatures(nn.Module):
    """RoI pooling before conv5_1, conv5, average pooling.

    The paper takes the maximum over rounded bins; this is RoIAlign (He et al. 2017), aligned to half pixels,
    with 2x2 samples a bin whatever the region's size.

    Args:
        head: the stages after the shared ones.
        spec: of the shared feature map.
        size: height and width of the pooled grid.

    Raises:
        UserError: the head does not take the feature map's channels.
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

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        """(N, C, H, W) features and (N, R, 4) boxes in pixels → (N · R, out_channels)."""
        pictures = torch.arange(len(boxes), device=boxes.device).expand(boxes.shape[1], -1).T
        regions = torch.cat([pictures[..., None], boxes], dim=2).flatten(0, 1)
        # Both in float32: half precision would move the regions by whole pixels.
        pooled = roi_align(
            features.float(), regions, self.size, 1 / self.spec.stride, sampling_ratio=2, aligned=True
        )
        return self.head(pooled).mean(dim=(2, 3))


def build_c4(
    trunk: FeatureNetwork,
    head: StageHead,
    num_classes: int,
    *,
    roi_size: int = 14,
    rpn: Mapping[str, Any] | None = None,
    roi: Mapping[str, Any] | None = None,
) -> FasterRCNN:
    """Puts the detector of appendix A together.

    Args:
        trunk, head: as `create_trunk_and_head` returns.
        num_classes: K, without background.
        roi_size: height and width of the pooled grid.
        rpn: keywords of RegionProposalNetwork.
        roi: keywords of RoiHeads.

    Raises:
        UserError: the trunk gives more than one feature map.
    """
    _, spec = only_feature(trunk)
    regions = RegionFeatures(head, spec, size=roi_size)
    roi_heads = RoiHeads(regions, regions.out_channels, num_classes, **(roi or {}))
    return FasterRCNN(trunk, RegionProposalNetwork(spec, **(rpn or {})), roi_heads)
