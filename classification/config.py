"""What a pretraining run can be told; defaults are the paper's ImageNet values."""

from dataclasses import dataclass, field
from typing import Literal

from classification.data.data_sets import DataConfig
from classification.losses import LossConfig
from classification.mixing import MixingConfig
from training.config import OptimConfig, RunConfig, ScheduleConfig


@dataclass(frozen=True)
class ModelConfig:
    """Arguments of `backbones.create_model`; the number of classes comes from the data.

    Attributes:
        name: as `backbones.list_models()` lists it.
        shortcut: option A, B or C of the paper; None takes the family's (ImageNet B, CIFAR A).
        stride_on: which convolution of a bottleneck strides; "1x1" is the paper's.
        zero_init_residual: start every block as the identity (Goyal et al. 2017; not the paper's).
        stem_pool: "ceil" pools in the stem as the Caffe release, whose weights want it.
        dilation: stages of an ImageNet network whose stride is replaced by dilation, of res3, res4, res5.
        norm: "sync" normalises by the statistics of all processes (GPUs) instead of each one's own.
        weights: file to start from instead of He initialisation.
    """

    name: str
    shortcut: Literal["A", "B", "C"] | None = None
    stride_on: Literal["1x1", "3x3"] = "3x3"
    zero_init_residual: bool = False
    stem_pool: Literal["padded", "ceil"] = "padded"
    dilation: tuple[str, ...] = ()
    norm: Literal["batch", "sync"] = "batch"
    weights: str | None = None


@dataclass(frozen=True)
class PretrainConfig:
    """One pretraining run."""

    model: ModelConfig
    data: DataConfig
    schedule: ScheduleConfig
    loss: LossConfig = field(default_factory=LossConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)
