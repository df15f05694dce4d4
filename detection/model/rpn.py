"""The region proposal network (Ren et al. 2015) on one feature map."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.spec import FeatureSpec
from detection.model.anchors import make_anchors
from detection.model.boxes import at_least, box_iou, clip_boxes, decode_boxes, padded_nms
from detection.model.matching import box_targets, match, random_keys, sample, sampled_mean
from detection.types import Batch
from engine.errors import UserError

BOX_LOSS_BETA = 1 / 9  # where smooth L1 turns from square to linear: sigma = 3 in py-faster-rcnn


class Proposals(NamedTuple):
    """boxes (N, P, 4) float32 xyxy in pixels, best first; valid (N, P) bool, False where there were fewer."""

    boxes: Tensor
    valid: Tensor


class RpnHead(nn.Module):
    """A 3x3 convolution, and two 1x1 for the objectness and the correction of every anchor."""

    def __init__(self, in_channels: int, channels: int, num_anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, num_anchors, 1)
        self.deltas = nn.Conv2d(channels, 4 * num_anchors, 1)
        for name, parameter in self.named_parameters():
            nn.init.normal_(parameter, std=0.01 if name.endswith("weight") else 0)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) → logits (N, R) and deltas (N, R, 4), float32, in the order of make_anchors."""
        hidden = F.relu(self.conv(features)).float()
        with torch.autocast(
            hidden.device.type, enabled=False
        ):  # bfloat16 ties scores and moves boxes by pixels
            logits = self.objectness(hidden).permute(0, 2, 3, 1).flatten(1)
            deltas = self.deltas(hidden).permute(0, 2, 3, 1).reshape(*logits.shape, 4)
        return logits, deltas


class RegionProposalNetwork(nn.Module):
    """Scores and corrects every anchor, and proposes the best.

    Defaults are Ren et al. 2015 and its code, py-faster-rcnn, unless said otherwise.

    Args:
        spec: of the feature map.
        channels: of the 3x3 convolution.
        anchor_sizes: square roots of areas, pixels.
        anchor_ratios: height over width.
        anchors_inside_only: anchors that cross the picture's border are not trained on, as in the paper. Not
            the default: a size too large for the pictures would stay untrained, and propose nevertheless.
        anchors_per_image: sampled for the loss.
        positive_fraction: of the sampled anchors, at most.
        positive_iou: anchors are objects from here on, as are each object's best anchors.
        negative_iou: anchors are background below this IoU with every object.
        pre_nms_train, pre_nms_test: boxes that enter non-maximum suppression, per picture, at most.
        post_nms_train, post_nms_test: proposals per picture; shapes are padded to it.
        nms_threshold: IoU.
        min_size: pixels, proposals with a shorter side are dropped. The default drops empty boxes only, as
            torchvision does; py-faster-rcnn drops those below 16.

    Raises:
        UserError: anchor sizes or ratios are missing or not positive.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        *,
        channels: int = 512,
        anchor_sizes: tuple[float, ...] = (128.0, 256.0, 512.0),
        anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        anchors_inside_only: bool = False,
        anchors_per_image: int = 256,
        positive_fraction: float = 0.5,
        positive_iou: float = 0.7,
        negative_iou: float = 0.3,
        pre_nms_train: int = 12000,
        post_nms_train: int = 2000,
        pre_nms_test: int = 6000,
        post_nms_test: int = 300,
        nms_threshold: float = 0.7,
        min_size: float = 1e-3,
    ) -> None:
        super().__init__()
        _check_anchors(anchor_sizes, anchor_ratios)
        self.spec = spec
        self.anchor_sizes, self.anchor_ratios = tuple(anchor_sizes), tuple(anchor_ratios)
        self.anchors_inside_only = anchors_inside_only
        self.anchors_per_image, self.positive_fraction = anchors_per_image, positive_fraction
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        self.train_limits, self.test_limits = (pre_nms_train, post_nms_train), (pre_nms_test, post_nms_test)
        self.nms_threshold, self.min_size = nms_threshold, min_size
        self.head = RpnHead(spec.channels, channels, len(anchor_sizes) * len(anchor_ratios))

    def forward(self, features: Tensor, batch: Batch) -> tuple[Proposals, dict[str, Tensor]]:
        """Proposals, and in training the losses `loss_rpn_objectness` and `loss_rpn_box`.

        Args:
            features: (N, C, H, W), of `spec`.
            batch: N pictures; only their sizes outside training.
        """
        logits, deltas = self.head(features)
        height, width = features.shape[-2:]
        anchors = make_anchors(
            self.spec,
            (height, width),
            sizes=self.anchor_sizes,
            ratios=self.anchor_ratios,
            device=features.device,
        )
        proposals = self.propose(logits.detach(), deltas.detach(), anchors, batch.sizes)
        return proposals, self.losses(logits, deltas, anchors, batch) if self.training else {}

    def propose(self, logits: Tensor, deltas: Tensor, anchors: Tensor, sizes: Tensor) -> Proposals:
        """The best corrected anchors: top by score, clipped, non-maximum suppression, top again.

        Args:
            logits: (N, R).
            deltas: (N, R, 4).
            anchors: (R, 4).
            sizes: (N, 2) height and width of the pictures.
        """
        before, after = self.train_limits if self.training else self.test_limits
        scores, order = logits.sort(dim=1, descending=True, stable=True)  # topk would break ties as it likes
        scores, best = scores[:, :before], order[:, :before]
        boxes = decode_boxes(deltas.take_along_dim(best[..., None], dim=1), anchors[best])
        boxes = clip_boxes(boxes, sizes)
        index, valid = padded_nms(
            boxes, scores, at_least(boxes, self.min_size), threshold=self.nms_threshold, count=after
        )
        return Proposals(boxes.take_along_dim(index[..., None], dim=1), valid)

    def losses(self, logits: Tensor, deltas: Tensor, anchors: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Log loss and smooth L1 over a sample of the anchors; arguments as for `propose`."""
        candidates, numbers = self._trained_on(anchors, batch.sizes), self._numbers(anchors)
        anchors = anchors.expand(len(logits), -1, -1)
        matches = match(
            box_iou(batch.boxes, anchors),
            batch.valid,
            candidates,
            positive_iou=self.positive_iou,
            negative_iou=self.negative_iou,
            low_quality=True,
        )
        keys = random_keys(batch.seeds, numbers, stream=0)
        sampled = sample(
            matches, keys, count=self.anchors_per_image, positive_fraction=self.positive_fraction
        )

        targets = box_targets(batch.boxes, matches, anchors)
        log_loss = F.binary_cross_entropy_with_logits(logits, matches.positive.float(), reduction="none")
        box_loss = F.smooth_l1_loss(deltas, targets, beta=BOX_LOSS_BETA, reduction="none").sum(dim=-1)
        return {
            "loss_rpn_objectness": sampled_mean(log_loss, sampled, sampled),
            "loss_rpn_box": sampled_mean(box_loss, sampled & matches.positive, sampled),
        }

    def _trained_on(self, anchors: Tensor, sizes: Tensor) -> Tensor:
        """(N, R) bool: not those centred beside the picture, on padding that other pictures ask for."""
        if self.anchors_inside_only:
            return (clip_boxes(anchors.expand(len(sizes), -1, -1), sizes) == anchors).all(dim=-1)
        return (_centres(anchors) < sizes.flip(1)[:, None]).all(dim=-1)

    def _numbers(self, anchors: Tensor) -> Tensor:
        """(R,) int64, an anchor's own number, whatever the width of the padded map."""
        shapes = len(self.anchor_sizes) * len(self.anchor_ratios)
        x, y = _centres(anchors).long().unbind(dim=1)
        return (y * 2**16 + x) * shapes + torch.arange(len(anchors), device=anchors.device) % shapes


def _centres(anchors: Tensor) -> Tensor:
    return (anchors[:, :2] + anchors[:, 2:]) / 2


def _check_anchors(sizes: tuple[float, ...], ratios: tuple[float, ...]) -> None:
    if not sizes or not ratios or min(*sizes, *ratios) <= 0:
        raise UserError(
            "anchor_sizes and anchor_ratios need at least one value each, all above 0; "
            f"got {list(sizes)} and {list(ratios)}"
        )
