"""The region proposal network of localization: every class has its own objectness and its own boxes.

He et al. 2015, appendix C. With 1,000 classes, nine anchors a cell and five numbers an anchor a map of 14x14
would have nine million outputs a picture. Only those that somebody asks for are computed: in training the
sampled anchors' of the picture's class, in testing those of the classes that are looked for.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.spec import FeatureSpec
from detection.model.anchors import make_anchors
from detection.model.box_targets import box_targets, match, random_keys, sample, sampled_mean
from detection.model.boxes import box_iou, decode_boxes, take
from detection.model.rpn import RpnConfig
from detection.types import Batch
from training.config import require_between

QUARTERS = (0.25, 0.5, 0.75, 1.0)  # of a training crop's side: the anchors where none are given


@dataclass(frozen=True)
class PerClassRpnConfig:
    """Options of the per-class RPN. The paper gives the numbers of anchors sampled; the others are ours.

    Attributes:
        channels: channels of the 3x3 convolution that anchors are judged from.
        anchor_sizes: square roots of areas, pixels; () takes a quarter, half, three quarters and the whole of
            data.image_size.
        anchor_ratios: heights of anchors over their widths.
        anchors_per_image: anchors of a picture sampled for the loss.
        positive_fraction: greatest share of objects among them; the paper's 1:1.
        positive_iou: IoU from which on anchors are objects, as are each object's best anchors.
        negative_iou: IoU with every object below which anchors are background.
        box_loss_beta: where smooth L1 turns from square to linear.
    """

    channels: int = RpnConfig.channels
    anchor_sizes: tuple[float, ...] = ()
    anchor_ratios: tuple[float, ...] = RpnConfig.anchor_ratios
    anchors_per_image: int = 8
    positive_fraction: float = RpnConfig.positive_fraction
    positive_iou: float = RpnConfig.positive_iou
    negative_iou: float = RpnConfig.negative_iou
    box_loss_beta: float = RpnConfig.box_loss_beta

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "channels", "anchors_per_image")
        require_between(self, 0, 1, "positive_fraction", "positive_iou", "negative_iou")
        require_between(self, 0, math.inf, "box_loss_beta")
        if self.negative_iou > self.positive_iou:
            limit = f"at most positive_iou {self.positive_iou}"
            raise ValueError(f"negative_iou must be {limit}, got {self.negative_iou}")
        if not self.anchor_ratios:
            raise ValueError("anchor_ratios must be one or more numbers above 0, got []")
        for name in ("anchor_sizes", "anchor_ratios"):
            if not all(0 < value < math.inf for value in getattr(self, name)):
                raise ValueError(f"{name} must be numbers above 0, got {list(getattr(self, name))}")


class PerClassRpn(nn.Module):
    """A 3x3 convolution, and for every class two 1x1 for objectness and correction of every anchor.

    Args:
        spec: of the feature map.
        num_classes: K; labels are 1…K.
        anchor_sizes: square roots of areas, pixels; those of the options if they name any.
        options: all else.
    """

    def __init__(
        self, spec: FeatureSpec, num_classes: int, anchor_sizes: tuple[float, ...], options: PerClassRpnConfig
    ) -> None:
        super().__init__()
        self.spec, self.num_classes, self.options = spec, num_classes, options
        self.anchor_sizes = anchor_sizes
        self.anchors_per_cell = len(anchor_sizes) * len(options.anchor_ratios)
        outputs = num_classes * self.anchors_per_cell
        self.conv = nn.Conv2d(spec.channels, options.channels, 3, padding=1)
        self.objectness = nn.Conv2d(options.channels, outputs, 1)
        self.deltas = nn.Conv2d(options.channels, 4 * outputs, 1)
        for name, parameter in self.named_parameters():
            nn.init.normal_(parameter, std=0.01 if name.endswith("weight") else 0)

    def forward(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What the classes `labels` (N, P) int64, 1…K, make of every anchor of their picture.

        Features (N, C, H, W) → logits (N, P, R) and boxes (N, P, R, 4) in the pixels of the network's input,
        float32, in the order of `anchors`.
        """
        cells = self._cells(features)
        with torch.autocast(cells.device.type, enabled=False):
            weight, bias = self._of(self.objectness, labels)
            logits = torch.einsum("nmc,npac->npma", cells, weight) + bias[:, :, None]
            weight, bias = self._of(self.deltas, labels)
            deltas = torch.einsum("nmc,npac->npma", cells, weight) + bias[:, :, None]
            anchors = self.anchors(features)
            deltas = deltas.reshape(*labels.shape, len(anchors), 4)
            return logits.flatten(2), decode_boxes(deltas, anchors)

    def at(self, features: Tensor, rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, S) and deltas (N, S, 4) of the anchors `rows` (N, S) for one class a picture (N,)."""
        cells = take(self._cells(features), rows // self.anchors_per_cell)
        own = (rows % self.anchors_per_cell)[..., None]
        with torch.autocast(cells.device.type, enabled=False):
            (weight, bias), (box_weight, box_bias) = (
                self._of(layer, labels[:, None]) for layer in (self.objectness, self.deltas)
            )
            logits = torch.einsum("nsc,nac->nsa", cells, weight[:, 0]) + bias
            deltas = torch.einsum("nsc,nac->nsa", cells, box_weight[:, 0]) + box_bias
            deltas = deltas.unflatten(2, (self.anchors_per_cell, 4))
            return logits.gather(2, own).squeeze(2), deltas.take_along_dim(own[..., None], dim=2).squeeze(2)

    def anchors(self, features: Tensor) -> Tensor:
        """(R, 4) xyxy in pixels, of a map (N, C, H, W)."""
        stride, (height, width) = self.spec.stride, features.shape[2:]
        return make_anchors(
            (stride, stride),
            (height, width),
            sizes=self.anchor_sizes,
            ratios=self.options.anchor_ratios,
            device=features.device,
        )

    def losses(self, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Log loss and smooth L1 over a sample of the anchors, for each picture's one class.

        Args:
            features: (N, C, H, W).
            batch: N pictures with at least one object each, all of one class.
        """
        options, anchors = self.options, self.anchors(features)
        matches = match(
            box_iou(batch.boxes, anchors.expand(len(batch.boxes), -1, -1)),
            batch.valid,
            torch.ones(len(batch.boxes), len(anchors), dtype=torch.bool, device=anchors.device),
            positive_iou=options.positive_iou,
            negative_iou=options.negative_iou,
            low_quality=True,
        )
        keys = random_keys(batch.seeds, torch.arange(len(anchors), device=anchors.device), stream=0)
        chosen = sample(matches, keys, options.anchors_per_image, options.positive_fraction)
        logits, deltas = self.at(features, chosen.rows, batch.labels.amax(dim=1))
        objects = matches.best.gather(1, chosen.rows)
        targets = box_targets(batch.boxes, objects, anchors[chosen.rows], chosen.positive)
        log_loss = F.binary_cross_entropy_with_logits(logits, chosen.positive.float(), reduction="none")
        box_loss = F.smooth_l1_loss(deltas, targets, beta=options.box_loss_beta, reduction="none").sum(dim=-1)
        return {
            "loss_objectness": sampled_mean(log_loss, chosen.valid, chosen.valid),
            "loss_box": sampled_mean(box_loss, chosen.positive, chosen.valid),
        }

    def _cells(self, features: Tensor) -> Tensor:
        """(N, H · W, channels) float32."""
        # In bfloat16 scores would tie, and boxes move by pixels.
        return F.relu(self.conv(features)).float().flatten(2).transpose(1, 2)

    def _of(self, layer: nn.Conv2d, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (N, P, A, C) and bias (N, P, A) of some classes; gradients reach these rows alone."""
        assert layer.bias is not None
        weight = F.embedding(labels - 1, layer.weight.view(self.num_classes, -1))
        bias = F.embedding(labels - 1, layer.bias.view(self.num_classes, -1))
        return weight.unflatten(2, (-1, layer.in_channels)), bias


def sizes_of_anchors(options: PerClassRpnConfig, image_size: int) -> tuple[float, ...]:
    """Those of the options, else quarters of the crop's side."""
    return options.anchor_sizes or tuple(quarter * image_size for quarter in QUARTERS)
