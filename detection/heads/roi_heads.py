"""The Fast R-CNN part (Girshick 2015): a class and a corrected box for every proposal, and perhaps a mask."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detection.heads.mask_head import MaskHead, of_class
from detection.heads.roi_pooling import mask_targets
from detection.model.box_targets import Regions, box_targets, match, random_keys, sample, sampled_mean
from detection.model.boxes import at_least, box_iou, clip_boxes, decode_boxes, take
from detection.model.rpn import Proposals
from detection.model.suppression import padded_nms
from detection.types import Batch
from foundation.errors import UserError
from training.config import require_between

BOX_WEIGHTS = (10.0, 5.0)  # factors on the targets of centre and size that bring them to unit variance


class Detections(NamedTuple):
    """What was found in N pictures, best first.

    boxes (N, D, 4) float32 xyxy in resized pixels, scores (N, D), labels (N, D) int64 1…K, and valid (N, D)
    bool, False where there was nothing left to fill the row. masks (N, D, M, M) float32, where the detector
    makes them: probability of the object in each cell of an M by M grid over its box.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor
    masks: Tensor | None = None


class RegionFeatures(Protocol):
    """A map of every region, of the usual `size` or another, and of the usual a vector of `out_channels`."""

    out_channels: int

    def maps(self, features: Sequence[Tensor], boxes: Tensor, size: int | None = None) -> Tensor: ...

    def vectors(self, maps: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class RoiConfig:
    """Options of the part that looks at each region; defaults are Girshick 2015 and its code.

    Attributes:
        size: height and width of the pooled grid; None: that of the kind of detector.
        aligned: whether regions are read at half pixels; false is torchvision's way, see
            `roi_pooling.pool_regions`.
        channels: width of the two fully connected layers that dc5 and fpn end in.
        regions_per_image: regions of a picture sampled for the loss.
        positive_fraction: greatest share of objects among the sampled regions.
        positive_iou: IoU from which on regions are objects; below it they are background.
        negative_floor: IoU below which background is not sampled (Girshick 2015 has 0.1; 0 is the journal
            version of Ren et al. 2015).
        box_loss_beta: where smooth L1 turns from square to linear, in weighted targets.
        score_threshold: probability above which a detection is kept.
        nms_threshold: IoU above which the worse of two detections of a class is dropped.
        detections_per_image: detections of a picture kept at most; shapes are padded to it.
    """

    size: int | None = None
    aligned: bool = True
    channels: int = 1024
    regions_per_image: int = 128
    positive_fraction: float = 0.25
    positive_iou: float = 0.5
    negative_floor: float = 0.0
    box_loss_beta: float = 1.0
    score_threshold: float = 0.05
    nms_threshold: float = 0.3
    detections_per_image: int = 100

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "size", "channels", "regions_per_image", "detections_per_image")
        require_between(self, 0, 1, "positive_fraction", "positive_iou", "score_threshold", "nms_threshold")
        require_between(self, 0, self.positive_iou, "negative_floor")
        require_between(self, 0, math.inf, "box_loss_beta")


class RoiHeads(nn.Module):
    """Classifies and corrects regions.

    Args:
        region_features: a module as `RegionFeatures` says, which has the options' size and channels.
        num_classes: K, without background.
        class_agnostic: one box for all classes.
        mask_head: makes a mask of a region's map; None makes no masks.
        mask_size: height and width of that map, pooled for the masks alone; None lets them share the map that
            the classes are read from.
    """

    def __init__(
        self,
        region_features: nn.Module,
        num_classes: int,
        options: RoiConfig,
        *,
        class_agnostic: bool,
        mask_head: MaskHead | None = None,
        mask_size: int | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.options = num_classes, options
        self.region_features = region_features
        channels: int = region_features.out_channels  # type: ignore[assignment]
        self.classifier = nn.Linear(channels, num_classes + 1)
        self.regressor = nn.Linear(channels, 4 * (1 if class_agnostic else num_classes))
        for layer, deviation in ((self.classifier, 0.01), (self.regressor, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)
        self.mask_head, self.mask_size = mask_head, mask_size

    def predict(self, maps: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """What the predictors say of the maps of boxes (N, R, 4).

        Returns:
            Logits (N, R, 1 + K), background first, and deltas (N, R, K, 4) or (N, R, 1, 4); float32.
        """
        vectors = self._regions.vectors(maps).float()
        with torch.autocast(vectors.device.type, enabled=False):  # bfloat16 ties scores and moves boxes
            logits = self.classifier(vectors).unflatten(0, boxes.shape[:2])
            deltas = self.regressor(vectors).view(*boxes.shape[:2], -1, 4)
        return logits, deltas

    @property
    def _regions(self) -> RegionFeatures:
        return self.region_features  # type: ignore[return-value]

    def sample_regions(self, proposals: Proposals, batch: Batch) -> Regions:
        """A random sample of the proposals and the objects themselves, with what they should become."""
        options = self.options
        boxes = torch.cat([proposals.boxes, batch.boxes], dim=1)
        candidates = torch.cat([proposals.valid, batch.valid], dim=1)
        matches = match(
            box_iou(batch.boxes, boxes),
            batch.valid,
            candidates,
            positive_iou=options.positive_iou,
            negative_iou=options.positive_iou,
            negative_floor=options.negative_floor,
        )
        keys = random_keys(batch.seeds, torch.arange(boxes.shape[1], device=boxes.device), stream=1)
        chosen = sample(matches, keys, options.regions_per_image, options.positive_fraction)
        boxes, objects = take(boxes, chosen.rows), matches.best.gather(1, chosen.rows)
        labels = batch.labels.gather(1, objects).masked_fill(~chosen.positive, 0)
        targets = box_targets(batch.boxes, objects, boxes, chosen.positive, weights=BOX_WEIGHTS)
        return Regions(boxes, labels, targets, objects, chosen.valid)

    def losses(self, features: Sequence[Tensor], proposals: Proposals, batch: Batch) -> dict[str, Tensor]:
        """Log loss and smooth L1 of the true class's box over a sample: loss_roi_class and loss_roi_box.

        With masks also `loss_mask`, the log loss of the true class's mask over the sampled objects.

        Raises:
            UserError: masks are to be learnt, and the batch has none.
        """
        regions = self.sample_regions(proposals, batch)
        maps = self._regions.maps(features, regions.boxes)
        logits, deltas = self.predict(maps, regions.boxes)
        log_loss = F.cross_entropy(logits.movedim(-1, 1), regions.labels, reduction="none")
        own = (regions.labels - 1).clamp(min=0, max=deltas.shape[2] - 1)[..., None, None]
        deltas = deltas.take_along_dim(own, dim=2).squeeze(2)
        beta = self.options.box_loss_beta
        box_loss = F.smooth_l1_loss(deltas, regions.targets, beta=beta, reduction="none")
        losses = {
            "loss_roi_class": sampled_mean(log_loss, regions.valid, regions.valid),
            "loss_roi_box": sampled_mean(box_loss.sum(dim=-1), regions.positive, regions.valid),
        }
        if self.mask_head is not None:
            losses["loss_mask"] = self._mask_loss(self.mask_head, features, maps, regions, batch)
        return losses

    def _mask_loss(
        self, head: MaskHead, features: Sequence[Tensor], maps: Tensor, regions: Regions, batch: Batch
    ) -> Tensor:
        if batch.masks is None:
            raise UserError(
                "this detector learns masks, and the batch has none; read the data set with masks=True"
            )
        options = self.options
        most = min(_used(regions.positive), int(options.regions_per_image * options.positive_fraction))
        chosen = regions.first(most)
        if self.mask_size is None:
            logits = head(maps.unflatten(0, regions.labels.shape)[:, :most].flatten(0, 1))
        else:
            logits = head(self._regions.maps(features, chosen.boxes, self.mask_size))
        own = of_class(logits, chosen.labels.flatten()).unflatten(0, chosen.labels.shape)
        targets = mask_targets(batch.masks, chosen.objects, chosen.boxes, own.shape[-1])
        loss = F.binary_cross_entropy_with_logits(own, targets, reduction="none").mean(dim=(2, 3))
        return sampled_mean(loss, chosen.positive, chosen.positive)

    def detect(self, features: Sequence[Tensor], proposals: Proposals, sizes: Tensor) -> Detections:
        """The best detections after non-maximum suppression within each class.

        Features are (N, C, H, W) of every map, sizes (N, 2) the pictures' height and width.
        """
        logits, deltas = self.predict(self._regions.maps(features, proposals.boxes), proposals.boxes)
        scores = logits.softmax(dim=-1)[..., 1:]
        boxes = decode_boxes(deltas, proposals.boxes[:, :, None], weights=BOX_WEIGHTS)
        boxes = clip_boxes(boxes.expand(*scores.shape, 4).flatten(1, 2), sizes)
        labels = torch.arange(1, self.num_classes + 1, device=boxes.device).expand_as(scores).flatten(1)
        valid = ((scores > self.options.score_threshold) & proposals.valid[..., None]).flatten(1)
        valid = valid & at_least(boxes, 1e-2)  # empty boxes go, as in torchvision
        # At most 1 / threshold classes of a region can pass the threshold.
        passing = int(min(self.num_classes, 1 / max(self.options.score_threshold, 1e-6)))
        ranking = scores.flatten(1).masked_fill(~valid, -1).argsort(dim=1, descending=True, stable=True)
        ranking = ranking[:, : proposals.valid.shape[1] * passing]
        best = _take(Detections(boxes, scores.flatten(1), labels, valid), ranking)
        index, kept = padded_nms(
            best.boxes,
            best.scores,
            best.valid,
            threshold=self.options.nms_threshold,
            count=self.options.detections_per_image,
            groups=best.labels,
        )
        best = _take(best, index)._replace(valid=kept)
        if self.mask_head is None:
            return best
        boxes, labels = (values[:, : _used(best.valid)] for values in (best.boxes, best.labels))
        masks = self.mask_head(self._regions.maps(features, boxes, self.mask_size))
        own = of_class(masks, labels.flatten()).sigmoid().unflatten(0, labels.shape)
        missing = best.labels.shape[1] - labels.shape[1]
        return best._replace(masks=F.pad(own, (0, 0, 0, 0, 0, missing)))


def _used(filled: Tensor) -> int:
    """The slots of (N, S) to compute: those filled from the front, or all where counting makes a GPU wait."""
    if filled.device.type != "cpu" or torch.compiler.is_exporting():
        return filled.shape[1]
    return max(1, int(filled.sum(dim=1).max()))


def _take(detections: Detections, index: Tensor) -> Detections:
    boxes, *rest, _ = detections
    return Detections(take(boxes, index), *(values.gather(1, index) for values in rest))
