"""Detectors that look at pictures together, at one scale or several (He et al. 2015, appendix B).

Multi-scale testing runs the trunk once for each scale. Proposals come from one of them, and what is said of a
region from two, merged by the maximum behind the layers that follow the pooling. An ensemble looks at the
union of its members' proposals, and averages what they say of each region.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detection.config import DetectionConfig
from detection.heads.candidates import Detections
from detection.heads.region_reader import RegionReader
from detection.improve.picture_scales import PictureScales
from detection.model.boxes import clip_boxes, take
from detection.model.detector import FasterRCNN
from detection.model.rpn import Proposals
from detection.types import Batch


class DetectorPanel(nn.Module):
    """One or several detectors of the same classes, in evaluation, that give one answer.

    Args:
        models: all with masks, or all without.
        configs: theirs. The first's options choose among what was found.
    """

    def __init__(self, models: Sequence[FasterRCNN], configs: Sequence[DetectionConfig]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.configs = list(configs)
        self.places = PictureScales(configs).places
        self.train(models[0].training)

    def forward(self, *batches: Batch) -> Detections:
        """What is in the pictures.

        Args:
            batches: the same N pictures at all sizes of `PictureScales`, in its order.
        Returns:
            Detections with boxes in the pixels of the first batch.
        """
        frame, sights = batches[0], self._sights(batches)
        found = [sight.propose() for sight in sights]
        proposals = Proposals(*(torch.cat(parts, dim=1) for parts in zip(*found, strict=True)))

        def score(boxes: Tensor) -> tuple[Tensor, Tensor]:
            scores, corrected = zip(*(sight.score(boxes) for sight in sights), strict=True)
            mean = sum(corrected) / len(sights)
            clipped = clip_boxes(mean.flatten(1, 2), frame.sizes).view_as(mean)
            return sum(scores) / len(sights), clipped

        return sights[0].model.roi_heads.answer(score, partial(_mean_masks, sights), proposals)

    def masks(self, boxes: Tensor, labels: Tensor, *batches: Batch) -> Tensor:
        """Masks (N, D, M, M), probabilities, of boxes in pixels of the first batch, labels (N, D)."""
        return _mean_masks(self._sights(batches), boxes, labels)

    def _sights(self, batches: Sequence[Batch]) -> "list[_Sight]":
        return [
            _Sight(model, [batches[place] for place in places], batches[0], config.testing.region_side)  # type: ignore[arg-type]
            for model, places, config in zip(self.models, self.places, self.configs, strict=True)
        ]


class _Sight:
    """What one detector sees of N pictures: its feature maps at every scale.

    Args:
        batches: at its own size, and behind it at those of testing.scales.
        frame: the pictures in whose pixels boxes are given and returned.
        region_side: as `InferenceConfig` says.
    """

    def __init__(self, model: FasterRCNN, batches: Sequence[Batch], frame: Batch, region_side: float) -> None:
        self.model, self.base, self.region_side = model, batches[0], region_side
        self.features = model.extract(self.base)
        self.factor = _factor(self.base, frame)
        self.scales = [
            (
                self.features if batch is self.base else model.extract(batch),
                batch.sizes,
                _factor(batch, self.base),
            )
            for batch in batches[1:]
        ]

    def propose(self) -> Proposals:
        proposals, _ = self.model.propose(self.base, self.features)
        return proposals._replace(boxes=proposals.boxes / self.factor)

    def score(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        read = self._read_scales if self.scales else self._read
        scores, corrected = self.model.roi_heads.score(read, self.base.sizes, boxes * self.factor)
        return scores, corrected / self.factor[:, :, None]

    def masks(self, boxes: Tensor, labels: Tensor) -> Tensor:
        """Of the detector's own size alone."""
        return self.model.roi_heads.masks(self.features, boxes * self.factor, labels)

    def _read(self, reader: RegionReader, boxes: Tensor) -> Tensor:
        return reader.read(self.features, boxes, self.base.sizes)[1]

    def _read_scales(self, reader: RegionReader, boxes: Tensor) -> Tensor:
        """Vectors (N, R, C), of each region the larger one of two scales in every channel."""
        factors = torch.cat([factor for *_, factor in self.scales], dim=1)
        lower = lower_scales(boxes, factors, self.region_side)
        merged: Tensor | None = None
        for number, (features, sizes, factor) in enumerate(self.scales):
            wanted = (lower == number) | (lower == number - 1)
            most = int(wanted.sum(dim=1).max())
            if not most:
                continue
            # As many rows for every picture; some of them are of regions that this scale has no say in.
            rows = wanted.int().argsort(dim=1, descending=True, stable=True)[:, :most]
            vectors = reader.read(features, take(boxes, rows) * factor, sizes)[1]
            if merged is None:
                merged = vectors.new_full((*boxes.shape[:2], vectors.shape[2]), -torch.inf)
            before = take(merged, rows)
            after = torch.where(wanted.gather(1, rows)[..., None], before.maximum(vectors), before)
            merged = merged.scatter(1, rows[..., None].expand_as(after), after)
        assert merged is not None
        return merged


def lower_scales(boxes: Tensor, factors: Tensor, region_side: float) -> Tensor:
    """The lower one of the two adjacent scales that each region is read from.

    They are those between which the region is as large as a square of region_side pixels; a region that is
    larger at all scales is read from the two smallest, and one that is smaller from the two largest. The
    paper does not print its rule. This is that of He et al. 2014 (SPP-net, §4.1), which picks the scale at
    which a region is nearest to 224 x 224 pixels, for two scales.

    Args:
        boxes: (N, R, 4) xyxy, in pixels of any size of the picture.
        factors: (N, S, 4), what they are multiplied by for each scale, rising; S at least 2.
    Returns:
        (N, R) int64 from 0 to S − 2.
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    areas = (sides[..., 0] * sides[..., 1])[..., None]
    scaled = areas * (factors[..., 0] * factors[..., 1])[:, None]
    fitting = (scaled <= region_side**2).sum(dim=2)  # how many scales show the region no larger
    return (fitting - 1).clamp(min=0, max=factors.shape[1] - 2)


def _factor(batch: Batch, frame: Batch) -> Tensor:
    """(N, 1, 4): pixels of the batch for one of the frame, along x, y, x, y."""
    return (batch.scales / frame.scales).flip(1).repeat(1, 2)[:, None]


def _mean_masks(sights: "Sequence[_Sight]", boxes: Tensor, labels: Tensor) -> Tensor:
    return _mean_of_grids([sight.masks(boxes, labels) for sight in sights])


def _mean_of_grids(grids: Sequence[Tensor]) -> Tensor:
    """Masks (N, D, M, M) of several detectors; smaller grids are resized to the largest, bilinearly."""
    largest = max(grid.shape[-1] for grid in grids)
    resized = [
        grid if grid.shape[-1] == largest else F.interpolate(grid, (largest, largest), mode="bilinear")
        for grid in grids
    ]
    return torch.stack(resized).mean(dim=0)
