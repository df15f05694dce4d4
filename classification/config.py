"""What a pretraining run can be told; defaults are the paper's ImageNet values."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from backbones import create_model
from backbones.networks.blocks import Shortcut, StrideOn
from backbones.networks.residual_units import GATE_BIAS, SCALING, Unit
from backbones.networks.resnet import StemPool
from backbones.spec import Network
from classification.block_subsets import BlocksConfig
from classification.data.data_sets import DataConfig
from classification.losses import LossConfig
from classification.mixing import MixingConfig
from training.config import RunConfig
from training.optim import OptimConfig
from training.schedule import ScheduleConfig


@dataclass(frozen=True)
class ModelConfig:
    """Arguments of `backbones.create_model`; the number of classes comes from the data.

    Attributes:
        name: network, as tools/models.py lists it.
        shortcut: kind of shortcuts (paper, §3.3): "A" pads with zeros, "B" projects where sizes change, "C"
            projects everywhere; None takes the network's own.
        stride_on: convolution of a bottleneck that has the stride: "1x1" as the paper, "3x3" as torchvision.
        zero_init_residual: starts every block as the identity, by a last scale of zero (Goyal et al. 2017).
        stem_pool: rounding of the stem's pooling; "ceil" is that of the Caffe release.
        dilation: stages whose stride is replaced by dilation, of res3, res4, res5.
        bottlenecks: resnet<depth>_cifar with blocks of three convolutions, in depths of 9n+2 (29, 164).
        unit: residual unit of resnet<depth>_cifar (He et al. 2016, Tables 1 and 2; docs/networks.md).
        scaling: of unit "scaled", the factors of shortcut and residual.
        gate_bias: of the gated units, where the gates' biases start.
        norm: "sync" normalises by the statistics of all processes (GPUs) instead of each one's own.
        weights: file to start from, or published name (tools/models.py --weights); null initialises as He.
    """

    name: str
    shortcut: Shortcut | None = None
    stride_on: StrideOn = "3x3"
    zero_init_residual: bool = False
    stem_pool: StemPool = "padded"
    dilation: tuple[str, ...] = ()
    bottlenecks: bool = False
    unit: Unit = "original"
    scaling: tuple[float, float] = SCALING
    gate_bias: float = GATE_BIAS
    norm: Literal["batch", "sync"] = "batch"
    weights: str | None = None

    def create(self, num_classes: int, **changes: Any) -> Network:
        """The network, with some of the arguments changed."""
        arguments = asdict(self) | changes
        return create_model(arguments.pop("name"), num_classes=num_classes, **arguments)


@dataclass(frozen=True)
class PretrainConfig:
    """One pretraining run."""

    model: ModelConfig
    data: DataConfig
    schedule: ScheduleConfig
    loss: LossConfig = field(default_factory=LossConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    blocks: BlocksConfig = field(default_factory=BlocksConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)

    command = "tools/pretrain.py"

    def __post_init__(self) -> None:
        if self.run.cuda_graph and (key := self.blocks.key()):
            raise ValueError(
                f"run.cuda_graph repeats one step, and {key} leaves out other blocks in each; "
                "use run.cuda_graph=false"
            )


@dataclass(frozen=True)
class MeasuringConfig:
    """On what and how a network is measured whose file says nothing of a training."""

    data: DataConfig
    run: RunConfig = field(default_factory=RunConfig)
