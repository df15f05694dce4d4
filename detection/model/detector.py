"""Faster R-CNN, the whole of it on one screen."""

import torch
from torch import Tensor, nn

from backbones.features import FeatureNetwork
from backbones.spec import FeatureSpec
from detection.model.roi_heads import Detections, RoiHeads
from detection.model.rpn import RegionProposalNetwork
from detection.types import Batch
from engine.errors import UserError


class FasterRCNN(nn.Module):
    """One feature map, proposals from it, a class and a box for every proposal (Ren et al. 2015).

    Args:
        trunk: gives the feature map that everything else reads.
        rpn: proposes regions.
        roi_heads: classifies and corrects them.

    Raises:
        UserError: the trunk gives several maps, or the RPN was made for another one.
    """

    def __init__(self, trunk: FeatureNetwork, rpn: RegionProposalNetwork, roi_heads: RoiHeads) -> None:
        super().__init__()
        self.feature, self.spec = only_feature(trunk)
        if rpn.spec != self.spec:
            raise UserError(
                f"the RPN was made for {rpn.spec}, the trunk gives {self.spec}; make it from the latter"
            )
        self.trunk, self.rpn, self.roi_heads = trunk, rpn, roi_heads

    def forward(self, batch: Batch) -> dict[str, Tensor] | Detections:
        """Trains on N pictures, or finds their objects.

        Returns:
            In training four losses, means over pictures: loss_rpn_objectness, loss_rpn_box, loss_roi_class,
            loss_roi_box. Otherwise the detections, with boxes in the batch's resized pixels.
        """
        features = self.extract(batch)
        proposals, losses = self.rpn(features, batch)
        if self.training:
            return losses | self.roi_heads.losses(features, proposals, batch)
        return self.roi_heads.detect(features, proposals, batch.sizes)

    def extract(self, batch: Batch) -> Tensor:
        """The feature map (N, C, ⌈H / stride⌉, ⌈W / stride⌉) of the pictures, which are normalised here.

        Raises:
            UserError: the map is not what the trunk's feature_specs promise.
        """
        images = self.trunk.input_spec.normalise(batch.images)
        # Padding stays 0 after the mean is subtracted, like the padding of the convolutions.
        features = self.trunk(images.masked_fill(_outside(batch), 0))[self.feature]
        expected = (self.spec.channels, *(-(-side // self.spec.stride) for side in images.shape[2:]))
        if features.shape[1:] != expected:
            raise UserError(
                f"{self.feature} of {tuple(images.shape[2:])} pixels should be {expected} by {self.spec}, "
                f"the trunk gave {tuple(features.shape[1:])}; anchors would be misplaced"
            )
        return features


def only_feature(trunk: FeatureNetwork) -> tuple[str, FeatureSpec]:
    """Name and specification of the trunk's one feature map.

    Raises:
        UserError: there are several.
    """
    if len(trunk.feature_specs) != 1:
        raise UserError(
            f"this detector reads one feature map, the trunk gives {list(trunk.feature_specs)}; ask for one"
        )
    return next(iter(trunk.feature_specs.items()))


def _outside(batch: Batch) -> Tensor:
    """(N, 1, H, W) bool, True where a picture is only padding."""
    height, width = batch.sizes.view(-1, 2, 1, 1, 1).unbind(dim=1)
    rows, columns = (torch.arange(side, device=batch.images.device) for side in batch.images.shape[2:])
    return (rows[:, None] >= height) | (columns >= width)
