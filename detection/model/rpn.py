"""The region proposal network (Ren et al. 2015) on one feature map, or on every level of a pyramid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.spec import FeatureSpec
from detection.model.anchors import AnchorGrid, anchor_steps, make_anchors
from detection.model.box_targets import box_targets, match, random_keys, sample, sampled_mean
from detection.model.boxes import at_least, box_iou, clip_boxes, decode_boxes, take
from detection.model.suppression import padded_nms
from detection.types import Batch
from foundation.errors import UserError
from training.config import require_between


class Proposals(NamedTuple):
    """boxes (N, P, 4) float32 xyxy in pixels, best first; valid (N, P) bool, False where there were fewer."""

    boxes: Tensor
    valid: Tensor


@dataclass(frozen=True)
class RpnConfig:
    """Options of the region proposal network; defaults are Ren et al. 2015 and py-faster-rcnn.

    Attributes:
        channels: channels of the 3x3 convolution that anchors are judged from.
        anchor_sizes: square roots of areas, pixels; dealt out in order, equally many to each feature map.
            None: those of the kind of detector, as are the limits before suppression.
        anchor_ratios: heights of anchors over their widths.
        anchor_grid: where anchors are: "strides" at multiples of a map's stride, and those centred beside the
            picture take no part; "padded" is torchvision's: all take part, and the step is the padded
            picture's side over the map's, rounded down (on a pyramid's pooled top less than its stride).
        anchors_inside_only: anchors that cross the picture's border are not trained on, as in the paper. Not
            the default: a size too large for the pictures would stay untrained, and propose nevertheless.
        anchors_per_image: anchors of a picture sampled for the loss.
        positive_fraction: greatest share of objects among the sampled anchors.
        positive_iou: IoU from which on anchors are objects, as are each object's best anchors.
        negative_iou: IoU with every object below which anchors are background.
        pre_nms_train, pre_nms_test: boxes that enter non-maximum suppression, per picture and map, at most.
        post_nms_train, post_nms_test: proposals per picture; shapes are padded to it.
        nms_threshold: IoU above which the worse of two proposals of one map is dropped.
        min_size: pixels; proposals with a shorter side are dropped. The default drops empty boxes only, as
            torchvision does; py-faster-rcnn drops those below 16.
        box_loss_beta: where smooth L1 turns from square to linear: 1/9 is sigma = 3 in py-faster-rcnn; 0 is
            L1, as in detectron2.
    """

    channels: int = 512
    anchor_sizes: tuple[float, ...] | None = None
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    anchor_grid: AnchorGrid = "strides"
    anchors_inside_only: bool = False
    anchors_per_image: int = 256
    positive_fraction: float = 0.5
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    pre_nms_train: int | None = None
    post_nms_train: int = 2000
    pre_nms_test: int | None = None
    post_nms_test: int = 300
    nms_threshold: float = 0.7
    min_size: float = 1e-3
    box_loss_beta: float = 1 / 9

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "channels", "anchors_per_image")
        require_between(self, 1, math.inf, "pre_nms_train", "post_nms_train", "pre_nms_test", "post_nms_test")
        require_between(self, 0, 1, "positive_fraction", "positive_iou", "negative_iou", "nms_threshold")
        require_between(self, 0, math.inf, "min_size", "box_loss_beta")
        if self.negative_iou > self.positive_iou:
            limit = f"at most positive_iou {self.positive_iou}"
            raise ValueError(f"negative_iou must be {limit}, got {self.negative_iou}")
        for name in ("anchor_sizes", "anchor_ratios"):
            values = getattr(self, name)
            if values is not None and not (values and all(0 < value < math.inf for value in values)):
                raise ValueError(f"{name} must be one or more numbers above 0, got {list(values)}")


class RpnHead(nn.Module):
    """A 3x3 convolution, and two 1x1 for the objectness and the correction of every anchor."""

    compile_whole = True  # by run.compile

    def __init__(self, in_channels: int, channels: int, num_anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, num_anchors, 1)
        self.deltas = nn.Conv2d(channels, 4 * num_anchors, 1)
        for name, parameter in self.named_parameters():
            nn.init.normal_(parameter, std=0.01 if name.endswith("weight") else 0)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) → logits (N, R) and deltas (N, R, 4), float32, in the order of make_anchors."""
        hidden = F.relu(self.conv(features), inplace=True).float()
        # In bfloat16 scores would tie, and boxes move by pixels.
        with torch.autocast(hidden.device.type, enabled=False):
            logits = self.objectness(hidden).permute(0, 2, 3, 1).flatten(1)
            deltas = self.deltas(hidden).permute(0, 2, 3, 1).reshape(*logits.shape, 4)
        return logits, deltas

    def at(self, features: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
        """What forward gives for some of the anchors, from nothing but the cells around them.

        Rows (N, S) int64 are numbers of anchors, counted through all maps → logits (N, S), deltas (N, S, 4).
        """
        num_anchors = self.objectness.out_channels
        around = _neighbourhoods(features, rows // num_anchors)
        # A view: of the bias itself autocast (torch 2.8, 2.9) may have kept a cast without gradient.
        assert self.conv.bias is not None
        bias = self.conv.bias.view(-1)
        hidden = F.relu(F.linear(around, self.conv.weight.flatten(1), bias)).float()
        with torch.autocast(hidden.device.type, enabled=False):
            logits, deltas = (
                F.linear(hidden, layer.weight.flatten(1), layer.bias)
                for layer in (self.objectness, self.deltas)
            )
        own = (rows % num_anchors)[..., None]
        deltas = deltas.unflatten(2, (num_anchors, 4)).take_along_dim(own[..., None], dim=2)
        return logits.gather(2, own).squeeze(2), deltas.squeeze(2)


def _neighbourhoods(features: Sequence[Tensor], cells: Tensor) -> Tensor:
    """Cells (N, S) int64 of all maps with their eight neighbours, zeros beside a map: (N, S, C · 9).

    Cells are counted row by row and map by map; the result lies as the weights of a 3x3 convolution do.
    """
    pictures = torch.arange(len(cells), device=cells.device)[:, None, None, None]
    step = torch.arange(-1, 2, device=cells.device)
    found, start = [], 0
    for level in features:
        height, width = level.shape[2:]
        cell = cells - start
        y = (cell // width)[..., None, None] + step[:, None]
        x = (cell % width)[..., None, None] + step
        values = level[pictures, :, y.clamp(0, height - 1), x.clamp(0, width - 1)]
        of_level = (cell >= 0) & (cell < height * width)
        inside = of_level[..., None, None] & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        found.append(values.masked_fill(~inside[..., None], 0))
        start += height * width
    return torch.stack(found).sum(dim=0).permute(0, 1, 4, 2, 3).flatten(2)


class RegionProposalNetwork(nn.Module):
    """Scores and corrects every anchor, and proposes the best.

    Args:
        specs: of the feature maps, which share the head (Lin et al. 2017).
        options: complete, as `DetectionConfig` makes them.

    Raises:
        UserError: the anchor sizes cannot be dealt out, or the maps differ in channels.
    """

    def __init__(self, specs: Sequence[FeatureSpec], options: RpnConfig) -> None:
        super().__init__()
        assert options.anchor_sizes and options.pre_nms_train and options.pre_nms_test
        self.specs, self.options, self.anchor_sizes = tuple(specs), options, options.anchor_sizes
        if len(self.anchor_sizes) % len(specs):
            sizes, maps = list(self.anchor_sizes), len(specs)
            raise UserError(
                f"rpn.anchor_sizes {sizes} cannot be dealt out to {maps} feature maps; "
                f"give equally many to each: {maps}, {2 * maps}, … sizes"
            )
        self.train_limits = options.pre_nms_train, options.post_nms_train
        self.test_limits = options.pre_nms_test, options.post_nms_test
        channels = {spec.channels for spec in specs}
        if len(channels) != 1:
            raise UserError(
                f"one RPN head reads all feature maps, which have {sorted(channels)} channels; expected the "
                "same in each: put a feature pyramid between"
            )
        self.head = RpnHead(channels.pop(), options.channels, self._anchors_per_cell)

    @property
    def _anchors_per_cell(self) -> int:
        return len(self.anchor_sizes) // len(self.specs) * len(self.options.anchor_ratios)

    def forward(self, features: Sequence[Tensor], batch: Batch) -> tuple[Proposals, dict[str, Tensor]]:
        """Proposals from features (N, C, H, W) of `specs`, and in training the losses loss_rpn_….

        Outside training only the sizes of the batch's pictures count.
        """
        with torch.no_grad():  # the losses look at a few anchors only, and compute those again
            logits, deltas = zip(*map(self.head, features), strict=True)
            anchors = self.anchors(features)
            proposals = self.propose(logits, deltas, anchors, batch.sizes)
        return proposals, self.losses(features, anchors, batch) if self.training else {}

    def anchors(self, features: Sequence[Tensor]) -> list[Tensor]:
        """(R, 4) of every map."""
        share, ratios = len(self.anchor_sizes) // len(self.specs), self.options.anchor_ratios
        shapes = [(level.shape[2], level.shape[3]) for level in features]
        steps = anchor_steps(self.options.anchor_grid, [spec.stride for spec in self.specs], shapes)
        return [
            make_anchors(
                steps[i],
                shapes[i],
                sizes=self.anchor_sizes[share * i : share * (i + 1)],
                ratios=ratios,
                device=level.device,
            )
            for i, level in enumerate(features)
        ]

    def _candidates(self, anchors: Tensor, sizes: Tensor) -> Tensor:
        """(N, R) bool: which of the anchors (R, 4) take part in pictures of these sizes (N, 2)."""
        inside = (_centres(anchors) < sizes.flip(1)[:, None]).all(dim=-1)
        return inside if self.options.anchor_grid == "strides" else torch.ones_like(inside)

    def propose(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Sequence[Tensor], sizes: Tensor
    ) -> Proposals:
        """The best corrected anchors: top by score, clipped, non-maximum suppression, top again.

        Of every map logits (N, R), deltas (N, R, 4) and anchors (R, 4); sizes (N, 2) are the pictures'.
        Anchors centred beside the picture propose nothing (but see `anchor_grid`): they are not trained on,
        and their number depends on the other pictures of the batch.
        """
        before, after = self.train_limits if self.training else self.test_limits
        inside = [
            scores.masked_fill(~self._candidates(places, sizes), -math.inf)
            for scores, places in zip(logits, anchors, strict=True)
        ]
        best = [self._best(*of_map, before) for of_map in zip(inside, deltas, anchors, strict=True)]
        scores, boxes = (torch.cat(part, dim=1) for part in zip(*best, strict=True))
        boxes = clip_boxes(boxes, sizes)
        groups = torch.cat([torch.full_like(s, i, dtype=torch.int64) for i, (s, _) in enumerate(best)], dim=1)
        index, valid = padded_nms(
            boxes,
            scores,
            at_least(boxes, self.options.min_size) & (scores > -math.inf),
            threshold=self.options.nms_threshold,
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

        Of every map features (N, C, H, W) and, as `levels`, its anchors (R, 4).
        """
        options, anchors = self.options, torch.cat(list(levels))
        if options.anchors_inside_only:
            whole = anchors.expand(len(batch.sizes), -1, -1)
            candidates = (clip_boxes(whole, batch.sizes) == anchors).all(dim=-1)
        else:
            candidates = self._candidates(anchors, batch.sizes)
        numbers = torch.cat([self._numbers(level, place) for place, level in enumerate(levels)])
        matches = match(
            box_iou(batch.boxes, anchors.expand(len(batch.boxes), -1, -1)),
            batch.valid,
            candidates,
            positive_iou=options.positive_iou,
            negative_iou=options.negative_iou,
            low_quality=True,
        )
        keys = random_keys(batch.seeds, numbers, stream=0)
        chosen = sample(matches, keys, options.anchors_per_image, options.positive_fraction)
        logits, deltas = self.head.at(features, chosen.rows)
        objects = matches.best.gather(1, chosen.rows)
        targets = box_targets(batch.boxes, objects, anchors[chosen.rows], chosen.positive)
        log_loss = F.binary_cross_entropy_with_logits(logits, chosen.positive.float(), reduction="none")
        box_loss = F.smooth_l1_loss(deltas, targets, beta=options.box_loss_beta, reduction="none").sum(dim=-1)
        return {
            "loss_rpn_objectness": sampled_mean(log_loss, chosen.valid, chosen.valid),
            "loss_rpn_box": sampled_mean(box_loss, chosen.positive, chosen.valid),
        }

    def _numbers(self, anchors: Tensor, level: int) -> Tensor:
        """(R,) int64, an anchor's own number, whatever the width of the padded map."""
        shapes = self._anchors_per_cell
        x, y = _centres(anchors).long().unbind(dim=1)
        number = (y * 2**16 + x) * shapes + torch.arange(len(anchors), device=anchors.device) % shapes
        return number + level * 2**48


def _centres(anchors: Tensor) -> Tensor:
    return (anchors[:, :2] + anchors[:, 2:]) / 2
