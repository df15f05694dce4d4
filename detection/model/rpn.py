"""The region proposal network (Ren et al. 2015) on one feature map, or on every level of a pyramid."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.spec import FeatureSpec
from detection.model.anchors import check_anchors, make_anchors
from detection.model.box_targets import box_targets, match, random_keys, sample, sampled_mean
from detection.model.boxes import at_least, box_iou, clip_boxes, decode_boxes, take
from detection.model.rpn_head import RpnHead
from detection.model.suppression import padded_nms
from detection.types import Batch
from foundation.errors import UserError


class Proposals(NamedTuple):
    """boxes (N, P, 4) float32 xyxy in pixels, best first; valid (N, P) bool, False where there were fewer."""

    boxes: Tensor
    valid: Tensor


class RegionProposalNetwork(nn.Module):
    """Scores and corrects every anchor, and proposes the best.

    Defaults are Ren et al. 2015 and its code, py-faster-rcnn, unless said otherwise.

    Args:
        specs: of the feature maps, which share the head (Lin et al. 2017).
        channels: of the 3x3 convolution.
        anchor_sizes: square roots of areas, pixels; dealt out in order, equally many to each map.
        anchor_ratios: height over width.
        anchors_inside_only: anchors that cross the picture's border are not trained on, as in the paper. Not
            the default: a size too large for the pictures would stay untrained, and propose nevertheless.
        anchors_per_image: sampled for the loss.
        positive_fraction: of the sampled anchors, at most.
        positive_iou: anchors are objects from here on, as are each object's best anchors.
        negative_iou: anchors are background below this IoU with every object.
        pre_nms_train, pre_nms_test: boxes that enter non-maximum suppression, per picture and map, at most.
        post_nms_train, post_nms_test: proposals per picture; shapes are padded to it.
        nms_threshold: IoU, between proposals of one map.
        box_loss_beta: where smooth L1 turns from square to linear: 1/9 is sigma = 3 in py-faster-rcnn; 0 is
            L1, as in detectron2.
        min_size: pixels, proposals with a shorter side are dropped. The default drops empty boxes only, as
            torchvision does; py-faster-rcnn drops those below 16.

    Raises:
        UserError: anchor sizes or ratios are missing, not positive or cannot be dealt out; the maps differ in
            channels.
    """

    def __init__(
        self,
        specs: Sequence[FeatureSpec],
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
        box_loss_beta: float = 1 / 9,
    ) -> None:
        super().__init__()
        check_anchors(anchor_sizes, anchor_ratios, len(specs))
        self.specs = tuple(specs)
        self.anchor_sizes, self.anchor_ratios = tuple(anchor_sizes), tuple(anchor_ratios)
        self.anchors_inside_only = anchors_inside_only
        self.anchors_per_image, self.positive_fraction = anchors_per_image, positive_fraction
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        self.train_limits, self.test_limits = (pre_nms_train, post_nms_train), (pre_nms_test, post_nms_test)
        self.nms_threshold, self.min_size, self.box_loss_beta = nms_threshold, min_size, box_loss_beta
        self.head = RpnHead(_only_channels(self.specs), channels, self._anchors_per_cell)

    @property
    def _anchors_per_cell(self) -> int:
        return len(self.anchor_sizes) // len(self.specs) * len(self.anchor_ratios)

    def forward(self, features: Sequence[Tensor], batch: Batch) -> tuple[Proposals, dict[str, Tensor]]:
        """Proposals, and in training the losses `loss_rpn_objectness` and `loss_rpn_box`.

        Args:
            features: of `specs`, (N, C, H, W) each.
            batch: N pictures; only their sizes outside training.
        """
        with torch.no_grad():  # the losses look at a few anchors only, and compute those again
            logits, deltas = zip(*map(self.head, features), strict=True)
            anchors = self.anchors(features)
            proposals = self.propose(logits, deltas, anchors, batch.sizes)
        return proposals, self.losses(features, anchors, batch) if self.training else {}

    def anchors(self, features: Sequence[Tensor]) -> list[Tensor]:
        """(R, 4) of every map."""
        share = len(self.anchor_sizes) // len(self.specs)
        return [
            make_anchors(
                spec,
                (level.shape[2], level.shape[3]),
                sizes=self.anchor_sizes[share * i : share * (i + 1)],
                ratios=self.anchor_ratios,
                device=level.device,
            )
            for i, (spec, level) in enumerate(zip(self.specs, features, strict=True))
        ]

    def propose(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], sizes: Tensor
    ) -> Proposals:
        """The best corrected anchors: top by score, clipped, non-maximum suppression, top again.

        Args:
            logits: (N, R) of every map.
            deltas: (N, R, 4) of every map.
            anchors: (R, 4) of every map.
            sizes: (N, 2) height and width of the pictures.
        """
        before, after = self.train_limits if self.training else self.test_limits
        best = [self._best(*level, before) for level in zip(logits, deltas, anchors, strict=True)]
        scores, boxes = (torch.cat(part, dim=1) for part in zip(*best, strict=True))
        boxes = clip_boxes(boxes, sizes)
        groups = torch.cat([torch.full_like(s, i, dtype=torch.int64) for i, (s, _) in enumerate(best)], dim=1)
        index, valid = padded_nms(
            boxes,
            scores,
            at_least(boxes, self.min_size),
            threshold=self.nms_threshold,
            count=after,
            groups=groups if len(best) > 1 else None,
        )
        return Proposals(take(boxes, index), valid)

    def _best(self, logits: Tensor, deltas: Tensor, anchors: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Scores (N, count) and boxes (N, count, 4) of one map, best first."""
        if torch.compiler.is_exporting():  # the map's size is not known: with empty boxes there are enough
            logits = F.pad(logits, (0, count), value=-math.inf)
            deltas, anchors = (F.pad(values, (0, 0, 0, count)) for values in (deltas, anchors))
        scores, order = logits.sort(dim=1, descending=True, stable=True)  # topk would break ties as it likes
        best = order[:, :count]
        boxes = decode_boxes(take(deltas, best), anchors[best])
        return scores[:, :count], boxes

    def losses(self, features: Sequence[Tensor], levels: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        """Log loss and smooth L1 over a sample of the anchors; no others need gradients, nor memory for them.

        Args:
            features: (N, C, H, W) of every map.
            levels: the anchors of every map.
            batch: the pictures with their objects.
        """
        anchors = torch.cat(list(levels))
        numbers = torch.cat([self._numbers(level, place) for place, level in enumerate(levels)])
        matches = match(
            box_iou(batch.boxes, anchors.expand(len(batch.boxes), -1, -1)),
            batch.valid,
            self._trained_on(anchors, batch.sizes),
            positive_iou=self.positive_iou,
            negative_iou=self.negative_iou,
            low_quality=True,
        )
        keys = random_keys(batch.seeds, numbers, stream=0)
        chosen = sample(matches, keys, count=self.anchors_per_image, positive_fraction=self.positive_fraction)
        logits, deltas = self.head.at(features, chosen.rows)
        objects = matches.best.gather(1, chosen.rows)
        targets = box_targets(batch.boxes, objects, anchors[chosen.rows], chosen.positive)
        log_loss = F.binary_cross_entropy_with_logits(logits, chosen.positive.float(), reduction="none")
        box_loss = F.smooth_l1_loss(deltas, targets, beta=self.box_loss_beta, reduction="none").sum(dim=-1)
        return {
            "loss_rpn_objectness": sampled_mean(log_loss, chosen.valid, chosen.valid),
            "loss_rpn_box": sampled_mean(box_loss, chosen.positive, chosen.valid),
        }

    def _trained_on(self, anchors: Tensor, sizes: Tensor) -> Tensor:
        """(N, R) bool: not those centred beside the picture, on padding that other pictures ask for."""
        if self.anchors_inside_only:
            return (clip_boxes(anchors.expand(len(sizes), -1, -1), sizes) == anchors).all(dim=-1)
        return (_centres(anchors) < sizes.flip(1)[:, None]).all(dim=-1)

    def _numbers(self, anchors: Tensor, level: int) -> Tensor:
        """(R,) int64, an anchor's own number, whatever the width of the padded map."""
        shapes = self._anchors_per_cell
        x, y = _centres(anchors).long().unbind(dim=1)
        number = (y * 2**16 + x) * shapes + torch.arange(len(anchors), device=anchors.device) % shapes
        return number + level * 2**48


def _centres(anchors: Tensor) -> Tensor:
    return (anchors[:, :2] + anchors[:, 2:]) / 2


def _only_channels(specs: Sequence[FeatureSpec]) -> int:
    channels = {spec.channels for spec in specs}
    if len(channels) != 1:
        raise UserError(
            f"one RPN head reads all feature maps, which have {sorted(channels)} channels; expected the same "
            "in each: put a feature pyramid between"
        )
    return channels.pop()
