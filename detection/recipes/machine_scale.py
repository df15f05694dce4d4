"""What a machine decides of a recipe: a detector that it can train in hours, with a GPU or without."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scale:
    """What the device decides.

    Attributes:
        backbone: its name.
        short_side: pixels, at most.
        batch: pictures a step, of each process.
        lr, reference_batch: the learning rate and for how many pictures it is.
        steps: at most; None leaves it to the epochs.
        evaluations: at most.
        heads: sizes of pyramid, RPN and box head.
    """

    backbone: str
    short_side: int
    batch: int
    lr: float
    reference_batch: int
    steps: int | None
    evaluations: int
    heads: Mapping[str, Any]


LARGE = {"rpn.channels": 256, "rpn.post_nms_train": 1000, "roi.regions_per_image": 512}
SMALL = {
    "detector.pyramid_channels": 128,
    "rpn.channels": 128,
    "rpn.anchors_per_image": 64,
    "rpn.pre_nms_train": 400,
    "rpn.post_nms_train": 200,
    "rpn.pre_nms_test": 300,
    "rpn.post_nms_test": 100,
    "roi.channels": 256,
    "roi.regions_per_image": 64,
    "mask.channels": 64,
}
# Steps and sizes of the CPU's make a training of minutes on two cores.
GPU = Scale("resnet50", 800, batch=8, lr=0.02, reference_batch=16, steps=None, evaluations=20, heads=LARGE)
CPU = Scale("resnet18", 256, batch=2, lr=0.01, reference_batch=2, steps=600, evaluations=5, heads=SMALL)
