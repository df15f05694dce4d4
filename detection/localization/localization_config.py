"""What a training in localization is made of; defaults are He et al. 2015, appendix C, and its sources."""

import math
from dataclasses import dataclass, field
from typing import Literal

from detection.config import BackboneConfig
from detection.data.dataset_splits import DATASETS, DataConfig
from detection.heads.roi_options import RoiConfig
from detection.localization.one_class_pictures import PicturesOf
from detection.model.per_class_rpn import PerClassRpnConfig
from detection.model.rpn import RpnConfig
from foundation.errors import suggest
from training.config import RunConfig, require_between
from training.optim import OptimConfig
from training.schedule import ScheduleConfig

SIZE = 224  # pixels of the paper's crops; other sizes scale what is stated for it
MULTIPLE = 32  # the stride of conv5
SCALES = (224, 256, 384, 480, 640)  # short sides of the paper's dense testing (He et al. 2015, §3.4)
CENTRE = 256  # short side of which one crop is the centre


@dataclass(frozen=True)
class LocalizationData:
    """Where the pictures are, and what of them is looked at.

    Localization is told, or guesses, the class of a picture; `pictures_of` says of which pictures.

    Attributes:
        kind: "imagenet_loc" as ILSVRC unpacks it, "shapes_loc" (generated on first use), or any other kind of
            set with boxes (docs/data_layouts.md).
        root, train, val, pictures, classes: as of data sets for detectors.
        pictures_of: "one_class" takes the pictures whose objects are all of one class, "single_object" those
            with one object, "each_class" every picture once for each class in it. "imagenet_loc" states the
            class of each picture.
        image_size: pixels of a crop's side, a multiple of 32.
        short_side: range of the scaled short side of training pictures, from which crops are cut at random;
            () takes the paper's 256 to 480, scaled as image_size is to 224.
        flip: half of the training pictures, chosen at random, are mirrored.
    """

    kind: str = "imagenet_loc"
    root: str | None = None
    train: str = ""
    val: str = ""
    pictures: str | None = None
    classes: tuple[str, ...] | None = None
    pictures_of: PicturesOf = "one_class"
    image_size: int = SIZE
    short_side: tuple[float, ...] = ()
    flip: bool = True

    def __post_init__(self) -> None:
        if self.kind not in DATASETS:
            raise ValueError(f"unknown kind {self.kind!r}{suggest(self.kind, DATASETS)}")
        if self.image_size < MULTIPLE or self.image_size % MULTIPLE:
            raise ValueError(f"image_size must be a multiple of {MULTIPLE}, got {self.image_size}")
        low, high = self.short_side if len(self.short_side) == 2 else (0, 0)
        if self.short_side and not self.image_size <= low <= high < math.inf:
            raise ValueError(
                f"short_side must be two ascending numbers from image_size {self.image_size} on, got "
                f"{list(self.short_side)}"
            )
        resolved = self.source()  # which refuses what is wrong with the other keys
        object.__setattr__(self, "train", resolved.train)
        object.__setattr__(self, "val", resolved.val)

    def source(self) -> DataConfig:
        """The set as detectors open it."""
        return DataConfig(
            kind=self.kind,
            root=self.root,
            train=self.train,
            val=self.val,
            pictures=self.pictures,
            classes=self.classes,
        )

    def jitter(self) -> tuple[float, float]:
        """The range of the short side of training pictures, pixels."""
        if self.short_side:
            low, high = self.short_side
            return low, high
        return 256 * self.image_size / SIZE, 480 * self.image_size / SIZE


@dataclass(frozen=True)
class LocalizationTesting:
    """How pictures are searched once the network is trained.

    Attributes:
        protocol: "one_crop" looks at the centre of the picture, "dense" at all of it at several scales.
        scales: short sides of dense, pixels; () takes the paper's 224, 256, 384, 480, 640, scaled as
            data.image_size is to 224.
        best: boxes kept of each class; R-CNN looks at as many.
        nms_threshold: IoU above which the worse of two boxes of a class is dropped.
    """

    protocol: Literal["one_crop", "dense"] = "dense"
    scales: tuple[int, ...] = ()
    best: int = 200
    nms_threshold: float = RpnConfig.nms_threshold

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "best")
        require_between(self, 0, 1, "nms_threshold")
        if self.scales and self.protocol == "one_crop":
            raise ValueError("scales has no effect with protocol=one_crop; leave it out")
        if not all(scale >= MULTIPLE for scale in self.scales):
            raise ValueError(f"scales must be {MULTIPLE} pixels or more each, got {list(self.scales)}")


@dataclass(frozen=True)
class RegionConfig:
    """R-CNN on the proposals of the per-class RPN (Girshick et al. 2014, whose values these are).

    Attributes:
        proposals: weight file of the RPN, of tools/train_loc.py; step=rcnn needs it.
        positive_fraction: share of the regions that are drawn among the objects' own.
        positive_iou: IoU with an object from which on a region is that object; below, it is background.
        box_loss_beta: where smooth L1 turns from square to linear.
    """

    proposals: str | None = None
    positive_fraction: float = RoiConfig.positive_fraction
    positive_iou: float = RoiConfig.positive_iou
    box_loss_beta: float = 1.0

    def __post_init__(self) -> None:
        require_between(self, 0, 1, "positive_fraction", "positive_iou")
        require_between(self, 0, math.inf, "box_loss_beta")


@dataclass(frozen=True, kw_only=True)
class LocalizationOptim(OptimConfig):
    """As `OptimConfig`; the batch is appendix C's, the rate ours: the paper does not say."""

    lr: float = 0.01
    batch_size: int = 256
    reference_batch: int = 256


@dataclass(frozen=True)
class LocalizationConfig:
    """Everything `tools/train_loc.py` needs.

    Attributes:
        step: "rpn" trains the per-class RPN on crops, "rcnn" the network that looks again at its proposals.
        feature: map of the backbone that both read.
    """

    step: Literal["rpn", "rcnn"] = "rpn"
    feature: str = "res5"
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    data: LocalizationData = field(default_factory=LocalizationData)
    rpn: PerClassRpnConfig = field(default_factory=PerClassRpnConfig)
    regions: RegionConfig = field(default_factory=RegionConfig)
    testing: LocalizationTesting = field(default_factory=LocalizationTesting)
    optim: LocalizationOptim = field(default_factory=LocalizationOptim)
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(total_steps=90_000, milestones=(60_000, 80_000))
    )
    run: RunConfig = field(default_factory=RunConfig)

    command = "tools/train_loc.py"

    def __post_init__(self) -> None:
        if (self.step == "rcnn") != (self.regions.proposals is not None):
            raise ValueError(
                f"step={self.step} and regions.proposals={self.regions.proposals}: R-CNN learns from the "
                "proposals of an RPN that is trained; give both step=rcnn and regions.proposals=FILE, or "
                "neither"
            )
        if self.run.cuda_graph:
            raise ValueError("localization cannot be captured; give run.cuda_graph=false")
