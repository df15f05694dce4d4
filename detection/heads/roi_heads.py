"""The Fast R-CNN part (Girshick 2015): a class and a corrected box for every proposal, and perhaps a mask."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detection.heads.candidates import Detections, choose
from detection.heads.mask_head import MaskHead, of_class
from detection.heads.region_reader import RegionReader
from detection.heads.roi_options import RoiConfig, Stage
from detection.heads.roi_pooling import mask_targets
from detection.improve.box_refinement import refine, vote
from detection.improve.inference_options import InferenceConfig
from detection.model.box_targets import Regions, box_targets, match, random_keys, sample, sampled_mean
from detection.model.boxes import at_least, box_iou, clip_boxes, decode_boxes, take
from detection.model.rpn import Proposals
from detection.types import Batch
from foundation.errors import UserError

Read = Callable[[RegionReader, Tensor], Tensor]  # regions (N, R, 4) → vectors (N, R, C)


class RoiHeads(RegionReader):
    """Classifies and corrects regions.

    The reader itself is the first stage; the later ones of a cascade are `later_stages`.

    Args:
        region_features: of each stage, a module as `RegionFeatures` says, which has the options' size and
            channels. Masks are read by the first.
        num_classes: K, without background.
        class_agnostic: one box for all classes, which a cascade needs.
        context: as of `RegionReader`.
        mask_head: makes a mask of a region's map; None makes no masks.
        mask_size: height and width of that map, pooled for the masks alone; None lets them share the map that
            the classes are read from.
        testing: what is done with a picture to answer better.
    """

    def __init__(
        self,
        region_features: Sequence[nn.Module],
        num_classes: int,
        options: RoiConfig,
        *,
        class_agnostic: bool,
        context: bool = False,
        mask_head: MaskHead | None = None,
        mask_size: int | None = None,
        testing: InferenceConfig | None = None,
    ) -> None:
        assert len(region_features) == options.stages and (class_agnostic or options.stages == 1)
        first, *later = region_features
        like = {"class_agnostic": class_agnostic, "context": context}
        super().__init__(first, num_classes, **like)
        self.later_stages = nn.ModuleList(RegionReader(regions, num_classes, **like) for regions in later)
        self.num_classes, self.options = num_classes, options
        self.testing = testing or InferenceConfig()
        self.mask_head, self.mask_size = mask_head, mask_size

    @property
    def stages(self) -> list[tuple[RegionReader, Stage]]:
        """Every reader with what it learns, in order."""
        readers: list[RegionReader] = [self, *self.later_stages]
        return [(reader, self.options.stage(number)) for number, reader in enumerate(readers)]

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
        targets = box_targets(batch.boxes, objects, boxes, chosen.positive, weights=options.stage(0).weights)
        return Regions(boxes, labels, targets, objects, chosen.valid)

    def losses(self, features: Sequence[Tensor], proposals: Proposals, batch: Batch) -> dict[str, Tensor]:
        """Log loss and smooth L1 of the true class's box over a sample: loss_roi_class and loss_roi_box.

        Those of later stages end in their number: loss_roi_class_2. With masks also `loss_mask`, the log loss
        of the true class's mask over the sampled objects.

        Raises:
            UserError: masks are to be learnt, and the batch has none.
        """
        sampled = regions = self.sample_regions(proposals, batch)
        losses: dict[str, Tensor] = {}
        first_maps, shared = None, [_scale_gradient(level, 1 / len(self.stages)) for level in features]
        for number, (reader, stage) in enumerate(self.stages, start=1):
            maps, vectors = reader.read(shared, regions.boxes, batch.sizes)
            first_maps = maps if first_maps is None else first_maps
            logits, deltas = reader.predict(vectors)
            suffix = "" if number == 1 else f"_{number}"
            terms = self._stage_losses(logits, deltas, regions)
            losses |= {f"{name}{suffix}": term for name, term in terms.items()}
            if number < len(self.stages):
                moved = decode_boxes(deltas.detach()[:, :, 0], regions.boxes, weights=stage.weights)
                regions = self._next_regions(clip_boxes(moved, batch.sizes), regions.valid, number, batch)
        if self.mask_head is not None:
            assert first_maps is not None
            losses["loss_mask"] = self._mask_loss(self.mask_head, features, first_maps, sampled, batch)
        return losses

    def _stage_losses(self, logits: Tensor, deltas: Tensor, regions: Regions) -> dict[str, Tensor]:
        log_loss = F.cross_entropy(logits.movedim(-1, 1), regions.labels, reduction="none")
        own = (regions.labels - 1).clamp(min=0, max=deltas.shape[2] - 1)[..., None, None]
        deltas = deltas.take_along_dim(own, dim=2).squeeze(2)
        beta = self.options.box_loss_beta
        box_loss = F.smooth_l1_loss(deltas, regions.targets, beta=beta, reduction="none")
        return {
            "loss_roi_class": sampled_mean(log_loss, regions.valid, regions.valid),
            "loss_roi_box": sampled_mean(box_loss.sum(dim=-1), regions.positive, regions.valid),
        }

    def _next_regions(self, boxes: Tensor, valid: Tensor, number: int, batch: Batch) -> Regions:
        """What a later stage learns of all the boxes of the stage before; boxes left empty teach nothing."""
        stage, candidates = self.options.stage(number), valid & at_least(boxes, 1e-2)
        matches = match(
            box_iou(batch.boxes, boxes),
            batch.valid,
            candidates,
            positive_iou=stage.iou,
            negative_iou=stage.iou,
        )
        labels = batch.labels.gather(1, matches.best).masked_fill(~matches.positive, 0)
        targets = box_targets(batch.boxes, matches.best, boxes, matches.positive, weights=stage.weights)
        return Regions(boxes, labels, targets, matches.best, candidates)

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
            logits = head(self.regions.maps(features, chosen.boxes, self.mask_size))
        own = of_class(logits, chosen.labels.flatten()).unflatten(0, chosen.labels.shape)
        targets = mask_targets(batch.masks, chosen.objects, chosen.boxes, own.shape[-1])
        loss = F.binary_cross_entropy_with_logits(own, targets, reduction="none").mean(dim=(2, 3))
        return sampled_mean(loss, chosen.positive, chosen.positive)

    def detect(self, features: Sequence[Tensor], proposals: Proposals, sizes: Tensor) -> Detections:
        """The best detections after non-maximum suppression within each class.

        Features are (N, C, H, W) of every map, sizes (N, 2) the pictures' height and width.
        """

        def read(reader: RegionReader, boxes: Tensor) -> Tensor:
            return reader.read(features, boxes, sizes)[1]

        return self.answer(partial(self.score, read, sizes), partial(self.masks, features), proposals)

    def answer(
        self,
        score: Callable[[Tensor], tuple[Tensor, Tensor]],
        masks: Callable[[Tensor, Tensor], Tensor] | None,
        proposals: Proposals,
    ) -> Detections:
        """What is found, as `testing` says, however regions are scored and masks are made.

        Args:
            score, masks: as this module's methods give them, for boxes alone, and for boxes and labels.
        """
        candidates = refine(score, proposals, self.testing.refine)
        found = choose(candidates, self.options)
        if self.testing.votes:
            found = found._replace(boxes=vote(found, candidates))
        if self.mask_head is None or masks is None:
            return found
        count = _used(found.valid)
        grids = masks(found.boxes[:, :count], found.labels[:, :count])
        missing = found.labels.shape[1] - count
        return found._replace(masks=F.pad(grids, (0, 0, 0, 0, 0, missing)))

    def score(self, read: Read, sizes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """What the stages say of regions (N, R, 4): the mean of their probabilities, the last one's boxes.

        Returns:
            Scores (N, R, K) of the classes without the background, boxes (N, R, K, 4) within the pictures.
        """
        scores = []
        for reader, stage in self.stages:
            logits, deltas = reader.predict(read(reader, boxes))
            scores.append(logits.softmax(dim=-1)[..., 1:])
            decoded = decode_boxes(deltas, boxes[:, :, None], weights=stage.weights)
            decoded = clip_boxes(decoded.flatten(1, 2), sizes).unflatten(1, deltas.shape[1:3])
            boxes = decoded[:, :, 0]
        mean = scores[0] if len(scores) == 1 else torch.stack(scores).mean(dim=0)
        return mean, decoded.expand(*mean.shape, 4)

    def masks(self, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """Masks (N, D, M, M), probabilities, of boxes (N, D, 4) and their labels (N, D)."""
        assert self.mask_head is not None
        logits = self.mask_head(self.regions.maps(features, boxes, self.mask_size))
        return of_class(logits, labels.flatten()).sigmoid().unflatten(0, labels.shape)


def _used(filled: Tensor) -> int:
    """The slots of (N, S) to compute: those filled from the front, or all where counting makes a GPU wait."""
    if filled.device.type != "cpu" or torch.compiler.is_exporting():
        return filled.shape[1]
    return max(1, int(filled.sum(dim=1).max()))


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * context.factor, None


def _scale_gradient(values: Tensor, factor: float) -> Tensor:
    """The values themselves, with less gradient, since the stages of a cascade add up (as detectron2)."""
    return values if factor == 1 else _ScaledGradient.apply(values, factor)
