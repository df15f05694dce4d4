"""The options of a network for semantic segmentation, as a configuration's section `model` has them."""

from dataclasses import dataclass
from typing import Literal

from training.config import require_between


@dataclass(frozen=True)
class SegmenterOptions:
    """Which network, and where it starts.

    Attributes:
        name: "<kind>_<backbone>", as `segmentation.list_models` lists it.
        weights: file of such a network to start from, of any classes: predictors of others are made anew.
        backbone_weights: a classifier's file or published name for the backbone alone; without both, all is
            trained from scratch.
        aux: an auxiliary head on res4, whose loss helps training.
        output_stride: of the backbone's last map, by dilation: 8, 16 or 32; null takes the kind's own.
        norm: "batch" trains the backbone's batch normalisation, "sync" with the statistics of all processes
            (GPUs), "frozen" fixes it. The heads' is trained.
        frozen_stages: stages of the backbone that are not trained: 2 fixes the stem and conv2.
        shortcut: kind of shortcuts, as of a detector's backbone; null takes the network's own.
        stride_on: convolution of a bottleneck that has the stride: "1x1" as the paper and Caffe's weights,
            "3x3" as torchvision's.
    """

    name: str = "deeplabv3_resnet50"
    weights: str | None = None
    backbone_weights: str | None = None
    aux: bool = True
    output_stride: int | None = None
    norm: Literal["batch", "sync", "frozen"] = "batch"
    frozen_stages: int = 0
    shortcut: Literal["A", "B", "C"] | None = None
    stride_on: Literal["1x1", "3x3"] = "3x3"

    def __post_init__(self) -> None:
        require_between(self, 0, 5, "frozen_stages")
        if self.weights is not None and self.backbone_weights is not None:
            raise ValueError(
                f"weights={self.weights} brings the backbone's weights, and backbone_weights="
                f"{self.backbone_weights} names others; set one of them to null"
            )
