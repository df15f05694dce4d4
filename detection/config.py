"""What a detector training is made of; defaults are He et al. 2015, appendix A, and its sources."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from detection.data.dataset_splits import DataConfig
from training.config import OptimConfig, RunConfig, ScheduleConfig, require_between

Metric = Literal["coco", "voc07", "voc12"]


@dataclass(frozen=True)
class BackboneConfig:
    """The network that becomes trunk (conv1–conv4) and per-region head (conv5).

    Attributes:
        name: of `backbones.list_models()`, or "timm/<name>" for one of timm's networks.
        weights: file to start from; None trains from scratch, which needs norm="batch".
        norm: "frozen" fixes every batch normalisation (the paper), "batch" trains it, "sync" trains it with
            the statistics of all processes (GPUs).
        frozen_stages: 2 fixes the stem and conv2 as Fast R-CNN does, 0 trains everything.
        stem_pool: "ceil" pools in the stem as the Caffe release, whose weights want it.
        dilation: stages whose stride is replaced by dilation, of res3, res4, res5; with ("res5",) the head
            keeps the size of the pooled grid.
    """

    name: str = "resnet101"
    weights: str | None = None
    shortcut: Literal["A", "B", "C"] | None = None
    stride_on: Literal["1x1", "3x3"] = "3x3"
    norm: Literal["frozen", "batch", "sync"] = "frozen"
    frozen_stages: int = 2
    stem_pool: Literal["padded", "ceil"] = "padded"
    dilation: tuple[str, ...] = ()


@dataclass(frozen=True)
class DetectorConfig:
    """How the backbone becomes a detector.

    Attributes:
        kind: "c4" shares conv1-conv4 and runs conv5 (VGG: fc6, fc7) for every region, as the paper; "dc5"
            reads a dilated conv5 of stride 16, "fpn" a pyramid; both end in two fully connected layers.
        class_agnostic: one box a region instead of one for every class.
        mask: also a mask for every object (Mask R-CNN; He et al. 2017).
        pyramid_channels: of every level of the pyramid.
    """

    kind: Literal["c4", "dc5", "fpn"] = "c4"
    class_agnostic: bool = False
    mask: bool = False
    pyramid_channels: int = 256

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "pyramid_channels")


@dataclass(frozen=True)
class RpnConfig:
    """Region proposal network (Ren et al. 2015); see `detection.model.rpn.RegionProposalNetwork`.

    With several feature maps `anchor_sizes` are dealt out in order, equally many to each, and the limits
    before non-maximum suppression are of each map. What is None becomes what suits the kind of detector, see
    `OF_KIND`.
    """

    channels: int = 512
    anchor_sizes: tuple[float, ...] | None = None
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
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


@dataclass(frozen=True)
class RoiConfig:
    """Per-region head: RoI pooling, conv5, class and box predictors (Girshick 2015; He et al. 2015).

    `size` is the pooled grid's height and width (None: see `OF_KIND`), `channels` the width of the two fully
    connected layers that dc5 and fpn end in; for the others see `detection.model.roi_heads.RoiHeads`.
    """

    size: int | None = None
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


@dataclass(frozen=True)
class MaskConfig:
    """Mask head (He et al. 2017), used with detector.mask.

    Attributes:
        size: of the pooled grid with dc5 and fpn, half a mask's; c4 reads what conv5 gives.
        channels: of its convolutions.
        convolutions: 3x3, before the one that doubles the size; c4 has none of its own.
    """

    size: int = 14
    channels: int = 256
    convolutions: int = 4

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "size", "channels")
        require_between(self, 0, math.inf, "convolutions")


@dataclass(frozen=True, kw_only=True)
class DetectionOptimConfig(OptimConfig):
    """As `OptimConfig`, with the values of appendix A: 0.001 for eight pictures a step."""

    lr: float = 0.001
    batch_size: int = 8
    reference_batch: int = 8


_ONE_MAP = {"anchor_sizes": (128.0, 256.0, 512.0), "pre_nms_train": 12000, "pre_nms_test": 6000}
# What is left open for each kind of detector: Ren et al. 2015; of a pyramid Lin et al. 2017 and detectron2.
OF_KIND: dict[str, dict[str, dict[str, Any]]] = {
    "c4": {"rpn": _ONE_MAP, "roi": {"size": 14}},
    "dc5": {"rpn": _ONE_MAP, "roi": {"size": 7}},
    "fpn": {
        "rpn": {
            "anchor_sizes": (32.0, 64.0, 128.0, 256.0, 512.0),
            "pre_nms_train": 2000,
            "pre_nms_test": 1000,
        },
        "roi": {"size": 7},
    },
}


@dataclass(frozen=True)
class DetectionConfig:
    """Everything `tools/train_det.py` needs.

    Attributes:
        training: "joint" trains everything at once (the approximate joint training of Ren et al. 2015, §3.2);
            "four_step" alternates as they do, and "two_stage" ends after the first two steps, so that
            proposals and detections come from features of their own; see `detection.alternate`. The schedule
            is then that of each step.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rpn: RpnConfig = field(default_factory=RpnConfig)
    roi: RoiConfig = field(default_factory=RoiConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    optim: DetectionOptimConfig = field(default_factory=DetectionOptimConfig)
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(total_steps=320_000, milestones=(240_000,))
    )
    run: RunConfig = field(default_factory=RunConfig)
    training: Literal["joint", "four_step", "two_stage"] = "joint"
    metric: Metric = "coco"

    def __post_init__(self) -> None:
        for section, values in OF_KIND[self.detector.kind].items():
            before = getattr(self, section)
            missing = {name: value for name, value in values.items() if getattr(before, name) is None}
            object.__setattr__(self, section, replace(before, **missing))
