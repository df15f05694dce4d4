"""What a training in semantic segmentation is made of; defaults are those of DeepLabv3 on VOC."""

from dataclasses import dataclass, field

from segmentation.data.segmentation_sets import SegmentationData
from segmentation.label_search import SearchOptions
from segmentation.model.segmenter_options import SegmenterOptions
from segmentation.pixel_losses import LossOptions
from training.config import RunConfig
from training.optim import OptimConfig
from training.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class SegmentationOptim(OptimConfig):
    """As `OptimConfig`, with DeepLabv3's rate for sixteen pictures a step (Chen et al. 2017, §4.1)."""

    lr: float = 0.007
    batch_size: int = 16
    reference_batch: int = 16


@dataclass(frozen=True)
class SegmentationConfig:
    """Everything `tools/train_seg.py` needs."""

    model: SegmenterOptions = field(default_factory=SegmenterOptions)
    data: SegmentationData = field(default_factory=SegmentationData)
    loss: LossOptions = field(default_factory=LossOptions)
    testing: SearchOptions = field(default_factory=SearchOptions)
    optim: SegmentationOptim = field(default_factory=SegmentationOptim)
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(kind="poly", total_steps=30_000))
    run: RunConfig = field(default_factory=RunConfig)

    command = "tools/train_seg.py"
    alternatives = (("model.weights", "model.backbone_weights"),)
