"""The options of the part of a detector that looks at each region."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from training.config import require_between

BOX_WEIGHTS = (10.0, 5.0)  # factors on the targets of centre and size that bring them to unit variance
STAGE_IOU_STEP = 0.1  # Cai and Vasconcelos 2018: 0.5, 0.6, 0.7; weights are 1, 2, 3 times the first's


class Stage(NamedTuple):
    """What one stage learns: the IoU from which on a region is an object, and the factors on box targets."""

    iou: float
    weights: tuple[float, float]


@dataclass(frozen=True)
class RoiConfig:
    """Options of the part that looks at each region; defaults are Girshick 2015 and its code.

    Attributes:
        size: height and width of the pooled grid; None: that of the kind of detector.
        stages: how often a class and a box are predicted, from the second time on from the boxes predicted
            before (Cascade R-CNN, Cai and Vasconcelos 2018). Each stage has layers of its own, and asks for
            0.1 more IoU than the one before. More than one needs detector.class_agnostic.
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
    stages: int = 1
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
        require_between(
            self, 1, math.inf, "size", "stages", "channels", "regions_per_image", "detections_per_image"
        )
        require_between(self, 0, 1, "positive_fraction", "positive_iou", "score_threshold", "nms_threshold")
        require_between(self, 0, self.positive_iou, "negative_floor")
        require_between(self, 0, math.inf, "box_loss_beta")
        if (highest := self.stage(self.stages - 1).iou) > 1:
            raise ValueError(
                f"stages {self.stages} from positive_iou {self.positive_iou} would ask for an IoU of "
                f"{highest:.2g}; make one of them less"
            )

    def stage(self, number: int) -> Stage:
        """What stage `number`, from 0 on, learns."""
        factor = number + 1
        iou = self.positive_iou + number * STAGE_IOU_STEP
        return Stage(iou, (BOX_WEIGHTS[0] * factor, BOX_WEIGHTS[1] * factor))
