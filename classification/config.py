"""What a pretraining run can be told; defaults are the paper's ImageNet values."""

from dataclasses import dataclass, field, fields
from typing import Literal

from engine.config import OptimConfig, RunConfig, ScheduleConfig
from engine.errors import UserError


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
class DataConfig:
    """Which pictures, and what is done to them.

    Attributes:
        kind: "folder" is the layout of ImageNet, one folder per class in each split.
        root: None takes the kind's place under $DATA_ROOT.
        train_split: folder below root; for CIFAR-10 "train" (50k) or "train45k".
        val_split: what is evaluated and what "best" is chosen on; for CIFAR-10 "test" or "val5k".
        image_size: pixels of the square training crop and of the centre crop of evaluation.
        resize: short side in pixels before that centre crop.
        augment: "paper" scales the short side at random before the crop (He et al. 2015, §3.4), "inception"
            crops 8–100 % of the area (Szegedy et al. 2015).
        short_side: range of the former in pixels; None takes the paper's [256, 480] · image_size / 224.
        pca_colour: deviation of AlexNet's colour shift, which the paper uses; 0 switches it off.

    The last five belong to folders; CIFAR-10 has its own augmentation (§4.2) and refuses them.
    """

    kind: Literal["shapes", "cifar10", "folder"]
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    image_size: int = 224
    resize: int = 256
    augment: Literal["paper", "inception"] = "paper"
    short_side: tuple[int, int] | None = None
    pca_colour: float = 0.1

    def __post_init__(self) -> None:
        if self.kind == "cifar10":
            self.refuse_folder_options()
        if self.pca_colour < 0:
            raise UserError(f"pca_colour is a deviation and must be at least 0, got {self.pca_colour}")
        if not 0 < self.image_size <= self.resize:
            raise UserError(
                "image_size must be positive and at most resize, "
                f"got image_size {self.image_size} and resize {self.resize}"
            )

        if self.short_side and not self.image_size <= self.short_side[0] <= self.short_side[1]:
            raise UserError(
                "short_side must be a range [low, high] from image_size on, "
                f"got {list(self.short_side)} and image_size {self.image_size}"
            )

    def refuse_folder_options(self) -> None:
        given = {"image_size", "resize", "augment", "short_side", "pca_colour"}
        for option in fields(self):
            if option.name in given and getattr(self, option.name) != option.default:
                raise UserError(f"{option.name} does not apply to cifar10; leave it out")

    def jitter(self) -> tuple[float, float]:
        """The range of the short side in pixels."""
        return self.short_side or (256 * self.image_size / 224, 480 * self.image_size / 224)


@dataclass(frozen=True)
class PretrainConfig:
    """One pretraining run."""

    model: ModelConfig
    data: DataConfig
    schedule: ScheduleConfig
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)
