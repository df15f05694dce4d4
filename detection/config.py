"""What a detector training is made of; defaults are He et al. 2015, appendix A, and its sources."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from detection.data.dataset_splits import DataConfig
from detection.heads.mask_head import MaskConfig
from detection.heads.roi_options import RoiConfig
from detection.improve.inference_options import InferenceConfig
from detection.model.category_maps import check_map_name
from detection.model.detector import DetectorOptions
from detection.model.detector_kinds import KINDS
from detection.model.rpn import RpnConfig
from detection.results.metrics_by_name import METRICS
from foundation.errors import check_choice
from training.config import RunConfig, require_between
from training.optim import OptimConfig
from training.schedule import ScheduleConfig


@dataclass(frozen=True)
class OneOf:
    """Lets a configuration name one of the choices, and nothing else; the error names the closest one."""

    option: str
    choices: Mapping[str, Any]

    def __call__(self, name: str) -> str:
        check_choice(self.option, name, self.choices)
        return name


@dataclass(frozen=True)
class BackboneConfig:
    """The network that becomes trunk (conv1–conv4) and per-region head (conv5).

    Attributes:
        name: network, as tools/models.py lists it, or "timm/<name>" for one of timm's.
        weights: file to start from, or published name (tools/models.py --weights); None trains from scratch,
            which needs norm="batch".
        shortcut: kind of shortcuts (paper, §3.3): "A" pads with zeros, "B" projects where sizes change, "C"
            projects everywhere; None takes the network's own.
        stride_on: convolution of a bottleneck that has the stride: "1x1" as the paper and Caffe's weights,
            "3x3" as torchvision's.
        norm: "frozen" fixes every batch normalisation (the paper), "batch" trains it, "sync" trains it with
            the statistics of all processes (GPUs).
        frozen_stages: stages that are not trained: 2 fixes the stem and conv2 as Fast R-CNN does, 0 trains
            everything.
        stem_pool: rounding of the stem's pooling; "ceil" is that of the Caffe release, whose weights want it.
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
class ModelConfig:
    """Where the whole detector starts, as `backbone.weights` says of its backbone alone.

    Attributes:
        weights: a detector's file, or a published one's name, to start from, whatever its classes are; see
            `detection.starting_weights`. backbone.weights is then left out.
        category_map: which class of that file each class of the data set is, as {sofa: couch, …} with all of
            them, or "coco_to_voc" for VOC's classes among COCO's; null looks for the same names. The
            predictors of mapped classes are kept.
    """

    weights: str | None = None
    category_map: Annotated[str | dict[str, str] | None, AfterValidator(check_map_name)] = None

    def __post_init__(self) -> None:
        if self.category_map is not None and self.weights is None:
            raise ValueError(
                "category_map is of the classes of a detector to start from, and weights names none; set "
                "model.weights, or model.category_map=null"
            )


@dataclass(frozen=True)
class DetectorConfig:
    """How the backbone becomes a detector.

    Attributes:
        kind: "c4" shares conv1-conv4 and runs conv5 (VGG: fc6, fc7) for every region, as the paper; "dc5"
            reads a dilated conv5 of stride 16, "fpn" a pyramid, "simple_fpn" a pyramid made of one map, for
            plain transformers; all but "c4" end in two fully connected layers.
        class_agnostic: predicts one box a region instead of one for every class.
        mask: also predicts a mask for every object (Mask R-CNN; He et al. 2017).
        context: the predictors see beside each region the whole picture, pooled as a region (He et al. 2015,
            appendix B).
        pyramid_channels: channels of every level of the pyramid of kinds "fpn" and "simple_fpn".
    """

    kind: Annotated[str, AfterValidator(OneOf("kind of detector", KINDS))] = "c4"
    class_agnostic: bool = False
    mask: bool = False
    context: bool = False
    pyramid_channels: int = 256

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "pyramid_channels")


@dataclass(frozen=True, kw_only=True)
class DetectionOptimConfig(OptimConfig):
    """As `OptimConfig`, with the values of appendix A: 0.001 for eight pictures a step."""

    lr: float = 0.001
    batch_size: int = 8
    reference_batch: int = 8


@dataclass(frozen=True)
class DetectionConfig:
    """Everything `tools/train_det.py` needs.

    Attributes:
        training: "joint" trains everything at once (the approximate joint training of Ren et al. 2015, §3.2);
            "four_step" alternates as they do, and "two_stage" ends after the first two steps, so that
            proposals and detections come from features of their own; see `detection.alternate`. The schedule
            is then that of each step.
        metric: figures of an evaluation, which also choose best.safetensors: "coco" is COCO's AP, "voc07" and
            "voc12" PASCAL VOC's mAP at IoU 0.5, over eleven points of recall and over the whole curve,
            "ilsvrc_det" the mAP of ImageNet's detection task, at IoU 0.5 and less for small objects.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rpn: RpnConfig = field(default_factory=RpnConfig)
    roi: RoiConfig = field(default_factory=RoiConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    testing: InferenceConfig = field(default_factory=InferenceConfig)
    optim: DetectionOptimConfig = field(default_factory=DetectionOptimConfig)
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(total_steps=320_000, milestones=(240_000,))
    )
    run: RunConfig = field(default_factory=RunConfig)
    training: Literal["joint", "four_step", "two_stage"] = "joint"
    metric: Annotated[str, AfterValidator(OneOf("metric", METRICS))] = "coco"

    command = "tools/train_det.py"
    alternatives = (("model.weights", "backbone.weights"),)

    def __post_init__(self) -> None:
        if self.model.weights is not None and self.backbone.weights is not None:
            raise ValueError(
                f"model.weights={self.model.weights} brings the backbone's weights, and backbone.weights="
                f"{self.backbone.weights} names others; give backbone.weights=null, or model.weights=null"
            )
        if self.model.weights is not None and self.training != "joint":
            raise ValueError(f"model.weights goes with training=joint, got training={self.training}")
        if self.roi.stages > 1 and not self.detector.class_agnostic:
            raise ValueError(
                f"roi.stages={self.roi.stages} hands one box a region from stage to stage; give "
                "detector.class_agnostic=true"
            )
        if self.testing.scales and self.run.cuda_graph:
            raise ValueError(
                "testing.scales reads other regions from every picture, which cannot be captured; give "
                "run.cuda_graph=false, or testing.scales=[]"
            )
        kind = KINDS[self.detector.kind]
        for section, values in (("rpn", kind.rpn), ("roi", kind.roi)):
            before = getattr(self, section)
            missing = {name: value for name, value in values.items() if getattr(before, name) is None}
            object.__setattr__(self, section, replace(before, **missing))

    @property
    def detector_options(self) -> DetectorOptions:
        """All options of the detector but its backbone's."""
        return DetectorOptions(
            self.rpn,
            self.roi,
            self.mask if self.detector.mask else None,
            class_agnostic=self.detector.class_agnostic,
            context=self.detector.context,
            pyramid_channels=self.detector.pyramid_channels,
            testing=self.testing,
        )
