"""Faster R-CNN before its features are shared: proposals and detections from a trunk each."""

from torch import Tensor

from backbones.features import FeatureNetwork
from backbones.pyramid import Pyramid
from detection.model.detector import FasterRCNN
from detection.model.roi_heads import Detections, RoiHeads
from detection.model.rpn import RegionProposalNetwork
from detection.types import Batch


class TwoTrunkRCNN(FasterRCNN):
    """A region proposal network and a Fast R-CNN of their own (Ren et al. 2015, §3.2, steps 1 and 2).

    Args:
        proposal_trunk: gives the feature maps that regions are proposed from; made as `trunk` was.
        trunk: gives those that regions are classified from.
        rpn, roi_heads: as of `FasterRCNN`.

    Raises:
        UserError: the RPN was made for other maps than the trunk gives.
    """

    def __init__(
        self,
        proposal_trunk: FeatureNetwork | Pyramid,
        trunk: FeatureNetwork | Pyramid,
        rpn: RegionProposalNetwork,
        roi_heads: RoiHeads,
    ) -> None:
        super().__init__(trunk, rpn, roi_heads)
        self.proposal_trunk = proposal_trunk

    def forward(self, batch: Batch) -> dict[str, Tensor] | Detections:
        """As `FasterRCNN.forward`."""
        proposals, losses = self.rpn(self.extract(batch, self.proposal_trunk), batch)
        features = self.extract(batch)
        if self.training:
            return losses | self.roi_heads.losses(features, proposals, batch)
        return self.roi_heads.detect(features, proposals, batch.sizes)
