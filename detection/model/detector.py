"""Faster R-CNN and Mask R-CNN, the whole of them on one screen."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backbones.features import FeatureNetwork
from backbones.pyramid import Pyramid
from backbones.simple_pyramid import SimplePyramid
from detection.heads.candidates import Detections
from detection.heads.mask_head import MaskConfig
from detection.heads.roi_heads import RoiHeads
from detection.heads.roi_options import RoiConfig
from detection.improve.inference_options import InferenceConfig
from detection.model.rpn import Proposals, RegionProposalNetwork, RpnConfig
from detection.types import Batch
from foundation.errors import UserError

Trunk = FeatureNetwork | Pyramid | SimplePyramid  # what gives a detector its maps


@dataclass(frozen=True)
class DetectorOptions:
    """What a detector is made with, its backbone apart; without `mask` it makes no masks.

    `DetectionConfig` composes it, rpn and roi complete; `DetectorConfig` explains what is no section.
    """

    rpn: RpnConfig
    roi: RoiConfig
    mask: MaskConfig | None
    class_agnostic: bool
    context: bool
    pyramid_channels: int
    testing: InferenceConfig


class FasterRCNN(nn.Module):
    """Feature maps, proposals from them, a class and a box, perhaps a mask, for every proposal.

    Ren et al. 2015; with masks He et al. 2017.

    Raises:
        UserError: the RPN was made for other maps than the trunk gives.
    """

    trunk: Trunk

    def __init__(self, trunk: Trunk, rpn: RegionProposalNetwork, roi_heads: RoiHeads) -> None:
        super().__init__()
        self.feature_specs = dict(trunk.feature_specs)
        specs = tuple(self.feature_specs.values())
        if rpn.specs != specs:
            raise UserError(
                f"the RPN was made for {rpn.specs}, the trunk gives {specs}; make it from the latter"
            )
        self.trunk, self.rpn, self.roi_heads = trunk, rpn, roi_heads

    def forward(self, batch: Batch) -> dict[str, Tensor] | Detections:
        """Trains on N pictures, or finds their objects.

        Returns:
            In training the losses, means over pictures: loss_rpn_objectness, loss_rpn_box, and those of
            `RoiHeads.losses`. Otherwise the detections, with boxes in the batch's resized pixels.
        """
        features = self.extract(batch)
        proposals, losses = self.propose(batch, features)
        if self.training:
            return losses | self.roi_heads.losses(features, proposals, batch)
        return self.roi_heads.detect(features, proposals, batch.sizes)

    def propose(
        self, batch: Batch, features: list[Tensor] | None = None
    ) -> tuple[Proposals, dict[str, Tensor]]:
        """What the RPN gives for the pictures, of which `features` may have been extracted before."""
        return self.rpn(self.extract(batch) if features is None else features, batch)

    def extract(self, batch: Batch, other: Trunk | None = None) -> list[Tensor]:
        """The feature maps (N, C, ⌈H / stride⌉, ⌈W / stride⌉) of the pictures, which are normalised here.

        Args:
            batch: N pictures; only images and sizes count.
            other: a trunk of the same pictures to take the maps from, in place of the detector's own.

        Raises:
            UserError: a map is not what the trunk's feature_specs promise.
        """
        images = self.trunk.input_spec.normalise(batch.images)
        # Padding stays 0 after the mean is subtracted, like the padding of the convolutions.
        height, width = batch.sizes.view(-1, 2, 1, 1, 1).unbind(dim=1)
        rows, columns = (torch.arange(side, device=images.device) for side in images.shape[2:])
        outside = (rows[:, None] >= height) | (columns >= width)
        maps = (self.trunk if other is None else other)(images.masked_fill(outside, 0))
        for name, spec in self.feature_specs.items():
            expected = (spec.channels, *(-(-side // spec.stride) for side in images.shape[2:]))
            if maps[name].shape[1:] != expected:
                raise UserError(
                    f"{name} of {tuple(images.shape[2:])} pixels should be {expected} by {spec}, "
                    f"the trunk gave {tuple(maps[name].shape[1:])}; anchors would be misplaced"
                )
        return [maps[name] for name in self.feature_specs]


class TwoTrunkRCNN(FasterRCNN):
    """A region proposal network and a Fast R-CNN of their own (Ren et al. 2015, §3.2, steps 1 and 2).

    Regions are proposed from the feature maps of `proposal_trunk`, made as `trunk` is, and classified from
    those of `trunk`.
    """

    def __init__(
        self,
        proposal_trunk: Trunk,
        trunk: Trunk,
        rpn: RegionProposalNetwork,
        roi_heads: RoiHeads,
    ) -> None:
        super().__init__(trunk, rpn, roi_heads)
        self.proposal_trunk = proposal_trunk

    def propose(
        self, batch: Batch, features: list[Tensor] | None = None
    ) -> tuple[Proposals, dict[str, Tensor]]:
        """As `FasterRCNN.propose`, but always from the trunk for proposals."""
        return self.rpn(self.extract(batch, self.proposal_trunk), batch)
