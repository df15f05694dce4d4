"""The Fast R-CNN part (Girshick 2015): a class and a corrected box for every proposal."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detection.model.boxes import at_least, box_iou, clip_boxes, decode_boxes, padded_nms
from detection.model.matching import box_targets, match, random_keys, sample, sampled_mean
from detection.model.rpn import Proposals
from detection.types import Batch

BOX_WEIGHTS = (10.0, 5.0)  # factors on the targets of centre and size that bring them to unit variance


class Detections(NamedTuple):
    """What was found in N pictures, best first.

    boxes (N, D, 4) float32 xyxy in resized pixels, scores (N, D), labels (N, D) int64 1…K, and valid (N, D)
    bool, False where there was nothing left to fill the row.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor


class Regions(NamedTuple):
    """The regions to train on, R per picture: boxes, targets (N, R, 4), labels (N, R) with 0 for background.

    valid (N, R) bool is False where there were too few; what stands there must not be counted.
    """

    boxes: Tensor
    labels: Tensor
    targets: Tensor
    valid: Tensor


class RoiHeads(nn.Module):
    """Classifies and corrects regions.

    Defaults are Girshick 2015 and its code; negatives are taken from IoU 0 on, as in the journal version of
    Ren et al. 2015.

    Args:
        region_features: maps features (N, C, H, W) and boxes (N, R, 4) to vectors (N · R, channels).
        channels: of those vectors.
        num_classes: K, without background.
        regions_per_image: sampled for the loss.
        positive_fraction: of the sampled regions, at most.
        positive_iou: regions are objects from here on, background below.
        negative_floor: background with less IoU is not sampled (Girshick 2015 has 0.1, Ren et al. 0).
        box_loss_beta: where smooth L1 turns from square to linear, in weighted targets.
        score_threshold: detections need a higher probability.
        nms_threshold: IoU, within a class.
        detections_per_image: kept at most; shapes are padded to it.
    """

    def __init__(
        self,
        region_features: nn.Module,
        channels: int,
        num_classes: int,
        *,
        regions_per_image: int = 128,
        positive_fraction: float = 0.25,
        positive_iou: float = 0.5,
        negative_floor: float = 0.0,
        box_loss_beta: float = 1.0,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.3,
        detections_per_image: int = 100,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.regions_per_image, self.positive_fraction = regions_per_image, positive_fraction
        self.positive_iou, self.negative_floor = positive_iou, negative_floor
        self.box_loss_beta = box_loss_beta
        self.score_threshold, self.nms_threshold = score_threshold, nms_threshold
        self.detections_per_image = detections_per_image
        self.region_features = region_features
        self.classifier = nn.Linear(channels, num_classes + 1)
        self.regressor = nn.Linear(channels, 4 * num_classes)
        for layer, deviation in ((self.classifier, 0.01), (self.regressor, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, R, 1 + K), background first, and deltas (N, R, K, 4) of boxes (N, R, 4), all float32."""
        vectors = self.region_features(features, boxes).float()
        with torch.autocast(vectors.device.type, enabled=False):  # bfloat16 ties scores and moves boxes
            logits = self.classifier(vectors).unflatten(0, boxes.shape[:2])
            deltas = self.regressor(vectors).view(*boxes.shape[:2], self.num_classes, 4)
        return logits, deltas

    def sample_regions(self, proposals: Proposals, batch: Batch) -> Regions:
        """A random sample of the proposals and the objects themselves, with what they should become."""
        boxes = torch.cat([proposals.boxes, batch.boxes], dim=1)
        candidates = torch.cat([proposals.valid, batch.valid], dim=1)
        matches = match(
            box_iou(batch.boxes, boxes),
            batch.valid,
            candidates,
            positive_iou=self.positive_iou,
            negative_iou=self.positive_iou,
            negative_floor=self.negative_floor,
        )
        keys = random_keys(batch.seeds, torch.arange(boxes.shape[1], device=boxes.device), stream=1)
        sampled = sample(
            matches, keys, count=self.regions_per_image, positive_fraction=self.positive_fraction
        )
        labels = batch.labels.gather(1, matches.best).masked_fill(~matches.positive, 0)
        targets = box_targets(batch.boxes, matches, boxes, weights=BOX_WEIGHTS)

        rows = sampled.int().argsort(dim=1, descending=True, stable=True)[:, : self.regions_per_image]
        return Regions(
            boxes.take_along_dim(rows[..., None], dim=1),
            labels.gather(1, rows),
            targets.take_along_dim(rows[..., None], dim=1),
            sampled.gather(1, rows),
        )

    def losses(self, features: Tensor, proposals: Proposals, batch: Batch) -> dict[str, Tensor]:
        """Log loss and smooth L1 of the true class's box over a sample: loss_roi_class and loss_roi_box."""
        regions = self.sample_regions(proposals, batch)
        logits, deltas = self(features, regions.boxes)
        log_loss = F.cross_entropy(logits.movedim(-1, 1), regions.labels, reduction="none")
        own = (regions.labels - 1).clamp(min=0)[..., None, None]
        deltas = deltas.take_along_dim(own, dim=2).squeeze(2)
        box_loss = F.smooth_l1_loss(deltas, regions.targets, beta=self.box_loss_beta, reduction="none")
        positive = regions.valid & (regions.labels > 0)
        return {
            "loss_roi_class": sampled_mean(log_loss, regions.valid, regions.valid),
            "loss_roi_box": sampled_mean(box_loss.sum(dim=-1), positive, regions.valid),
        }

    def detect(self, features: Tensor, proposals: Proposals, sizes: Tensor) -> Detections:
        """The best detections after non-maximum suppression within each class.

        Args:
            features: (N, C, H, W).
            proposals: P per picture.
            sizes: (N, 2) height and width of the pictures.
        """
        logits, deltas = self(features, proposals.boxes)
        boxes = decode_boxes(deltas, proposals.boxes[:, :, None], weights=BOX_WEIGHTS).flatten(1, 2)
        boxes = clip_boxes(boxes, sizes)
        scores = logits.softmax(dim=-1)[..., 1:]
        labels = torch.arange(1, self.num_classes + 1, device=boxes.device).expand_as(scores).flatten(1)
        valid = ((scores > self.score_threshold) & proposals.valid[..., None]).flatten(1)
        valid = valid & at_least(boxes, 1e-2)  # empty boxes go, as in torchvision
        return self._best(Detections(boxes, scores.flatten(1), labels, valid), sizes)

    def _best(self, candidates: Detections, sizes: Tensor) -> Detections:
        # At most 1 / threshold classes of a region can pass the threshold.
        passing = int(min(self.num_classes, 1 / max(self.score_threshold, 1e-6)))
        count = candidates.scores.shape[1] // self.num_classes * passing
        ranking = candidates.scores.masked_fill(~candidates.valid, -1)
        best = _take(candidates, ranking.argsort(dim=1, descending=True, stable=True)[:, :count])
        # Classes are moved apart so as not to suppress each other; in float64, which leaves their IoU exact.
        apart = best.boxes.double() + (best.labels * (sizes.max() + 1))[..., None]
        index, kept = padded_nms(
            apart, best.scores, best.valid, threshold=self.nms_threshold, count=self.detections_per_image
        )
        return _take(best, index)._replace(valid=kept)


def _take(detections: Detections, index: Tensor) -> Detections:
    boxes = detections.boxes.take_along_dim(index[..., None], dim=1)
    return Detections(boxes, *(values.gather(1, index) for values in detections[1:]))
