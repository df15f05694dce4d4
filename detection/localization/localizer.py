"""The two networks of localization: a trunk with a per-class RPN, and R-CNN on crops of its proposals.

He et al. 2015, appendix C.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from backbones.features import FeatureNetwork
from detection.localization.region_crops import BOX_WEIGHTS, RegionBatch
from detection.model.boxes import decode_boxes
from detection.model.per_class_rpn import PerClassRpn
from detection.types import Batch


class RpnLocalizer(nn.Module):
    """Boxes of given classes from the whole of a picture, or of a crop.

    Args:
        trunk: gives one map, the RPN's.
    """

    def __init__(self, trunk: FeatureNetwork, rpn: PerClassRpn) -> None:
        super().__init__()
        self.trunk, self.rpn = trunk, rpn

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of N crops, each with objects of one class: loss_objectness and loss_box."""
        return self.rpn.losses(self.features(batch.images), batch)

    def search(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, P, R) and boxes (N, P, R, 4) of the classes `labels` (N, P) in pictures without padding.

        Args:
            images: (N, 3, H, W) uint8 RGB.
            labels: int64, 1…K.
        """
        return self.rpn(self.features(images), labels)

    def features(self, images: Tensor) -> Tensor:
        """(N, C, h, w) of pictures (N, 3, H, W) uint8, which are normalised here."""
        (features,) = self.trunk(self.trunk.input_spec.normalise(images)).values()
        return features


class RegionLocalizer(nn.Module):
    """R-CNN: a score and a better box of a given class, from a region warped to the crops of pretraining.

    The classification network's features, averaged, and two sibling layers with a unit, and four, for every
    class.

    Args:
        trunk: gives one map.
        num_classes: K; labels are 1…K.
        box_loss_beta: where smooth L1 turns from square to linear.
    """

    def __init__(self, trunk: FeatureNetwork, num_classes: int, *, box_loss_beta: float) -> None:
        super().__init__()
        (spec,) = trunk.feature_specs.values()
        self.trunk, self.num_classes, self.box_loss_beta = trunk, num_classes, box_loss_beta
        self.classifier = nn.Linear(spec.channels, num_classes)
        self.regressor = nn.Linear(spec.channels, 4 * num_classes)
        # Girshick 2015, §2.3.
        for layer, std in ((self.classifier, 0.01), (self.regressor, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, batch: RegionBatch) -> dict[str, Tensor]:
        """The losses of R regions: loss_region for being the object, loss_region_box for its box."""
        logits, deltas = self.read(batch.images, batch.labels)
        box_loss = F.smooth_l1_loss(deltas, batch.targets, beta=self.box_loss_beta, reduction="none").sum(
            dim=1
        )
        return {
            "loss_region": F.binary_cross_entropy_with_logits(logits, batch.positive.float()),
            "loss_region_box": box_loss.masked_fill(~batch.positive, 0).mean(),
        }

    def read(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R,) and deltas (R, 4), float32, of regions (R, 3, S, S) uint8 for one class each (R,)."""
        (features,) = self.trunk(self.trunk.input_spec.normalise(images)).values()
        pooled = features.float().mean(dim=(2, 3))
        logits = self.classifier(pooled).float().gather(1, labels[:, None] - 1).squeeze(1)
        deltas = self.regressor(pooled).float().unflatten(1, (self.num_classes, 4))
        return logits, deltas.take_along_dim((labels - 1)[:, None, None], dim=1).squeeze(1)

    def rescore(self, images: Tensor, regions: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R,) and boxes (R, 4) in the pixels of the regions (R, 4)."""
        logits, deltas = self.read(images, labels)
        return logits, decode_boxes(deltas, regions, weights=BOX_WEIGHTS)


Localizer = RpnLocalizer | RegionLocalizer
