"""What a pretraining run can be told; defaults are the paper's ImageNet values."""

import re
from dataclasses import dataclass, field, fields
from typing import Literal

from foundation.errors import UserError
from training.config import OptimConfig, RunConfig, ScheduleConfig, require_between

# torchvision's by name, or timm's random augmentation with its options.
TIMM_OPTION = r"m(\d|10)|n[1-9]\d*|p(0(\.\d+)?|1(\.0+)?)|mstd\d+(\.\d+)?|mmax\d+|inc1"
POLICIES = rf"trivial|rand|auto|rand(-({TIMM_OPTION}))+"


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
        kind: "folder" is the layout of ImageNet, one folder per class in each split; "shards" are tar files
            as WebDataset's; "huggingface" is a data set of that hub (docs/conventions.md).
        root: None takes the kind's place under $DATA_ROOT; of "huggingface" the name on the hub, or a folder.
        train_split: folder below root; of shards also a pattern, train-{000..146}.tar; for CIFAR-10 "train"
            (50k) or "train45k".
        val_split: what is evaluated and what "best" is chosen on; for CIFAR-10 "test" or "val5k".
        image_size: pixels of the square training crop and of the centre crop of evaluation.
        eval_size: of the latter alone, where it is to be another size (Touvron et al. 2019).
        resize: short side in pixels before that centre crop.
        augment: "paper" scales the short side at random before the crop (He et al. 2015, §3.4), "inception"
            crops 8–100 % of the area (Szegedy et al. 2015).
        short_side: range of the former in pixels; None takes the paper's [256, 480] · image_size / 224.
        pca_colour: deviation of AlexNet's colour shift, which the paper uses; 0 switches it off.
        policy: what else is done to a training crop, see `classification.data.policies`: "trivial", "rand" or
            "auto", which are torchvision's, or timm's by its own names, such as "rand-m7-mstd0.5-inc1".
        erase: probability of a rectangle of the training crop to be erased (Zhong et al. 2020).
        mean: "pixel" subtracts the training pictures' mean picture, as the paper does; "channel" ImageNet's
            channel means, and divides by the deviations.
        broken: "skip" leaves broken pictures out of training batches, counts and reports them; evaluation
            always stops at one, since an error over fewer pictures would be another number.
        picture_column, label_column: of a Hugging Face data set.

    Those from image_size on belong to folders; CIFAR-10 has its own augmentation (§4.2) and refuses them.
    """

    kind: Literal["shapes", "cifar10", "folder", "shards", "huggingface"]
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    image_size: int = 224
    eval_size: int | None = None
    resize: int = 256
    augment: Literal["paper", "inception"] = "paper"
    short_side: tuple[int, int] | None = None
    pca_colour: float = 0.1
    policy: str | None = None
    erase: float = 0.0
    mean: Literal["channel", "pixel"] = "channel"
    broken: Literal["stop", "skip"] = "stop"
    picture_column: str = "image"
    label_column: str = "label"

    def __post_init__(self) -> None:
        if self.kind == "cifar10":
            self.refuse_folder_options()
        if self.kind == "huggingface" and self.root is None:
            raise UserError("root must be the name of the data set on the Hugging Face hub, or its folder")
        if self.kind != "huggingface" and (self.picture_column, self.label_column) != ("image", "label"):
            raise UserError(f"picture_column and label_column belong to kind huggingface, got {self.kind}")
        if not 0 <= self.pca_colour <= 10:
            raise UserError(f"pca_colour is a deviation and must be from 0 to 10, got {self.pca_colour}")
        if self.short_side is not None and self.augment == "inception":
            raise UserError(
                "short_side belongs to augment paper and does nothing with inception; "
                f"leave it out, got {list(self.short_side)}"
            )
        self._check_sizes()
        if self.policy is not None and not re.fullmatch(POLICIES, self.policy):
            raise UserError(
                'policy must be "trivial", "rand", "auto" or as "rand-m7-mstd0.5-inc1" (m 0 to 10, n from 1, '
                f"mmax: integers; p 0 to 1; mstd; inc1), got {self.policy!r}"
            )
        if not 0 <= self.erase <= 1:
            raise UserError(f"erase is a probability and must be from 0 to 1, got {self.erase}")

    def _check_sizes(self) -> None:
        name = "image_size" if self.eval_size is None else "eval_size"
        size = getattr(self, name)
        if not 0 < size <= self.resize:
            raise UserError(
                f"{name} must be positive and at most resize, got {name} {size} and resize {self.resize}"
            )
        if self.image_size < 1:
            raise UserError(f"image_size must be positive, got {self.image_size}")
        if self.short_side and not self.image_size <= self.short_side[0] <= self.short_side[1]:
            raise UserError(
                "short_side must be a range [low, high] from image_size on, "
                f"got {list(self.short_side)} and image_size {self.image_size}"
            )

    def refuse_folder_options(self) -> None:
        given = {
            *("image_size", "eval_size", "resize", "augment", "short_side", "pca_colour", "policy", "erase"),
            *("mean", "broken"),
        }
        for option in fields(self):
            if option.name in given and getattr(self, option.name) != option.default:
                raise UserError(f"{option.name} does not apply to cifar10; leave it out")

    def centre_size(self) -> int:
        """Pixels of the centre crop of evaluation."""
        return self.eval_size or self.image_size

    def jitter(self) -> tuple[float, float]:
        """The range of the short side in pixels."""
        return self.short_side or (256 * self.image_size / 224, 480 * self.image_size / 224)


@dataclass(frozen=True)
class MixingConfig:
    """Training pictures mixed with others of their micro-batch; see `classification.mixing`.

    Attributes:
        mixup: alpha of the distribution Beta(alpha, alpha) of a picture's share in mixup; 0 is no mixup.
        cutmix: the same of cutmix.
        probability: of a micro-batch to be mixed at all.
        cutmix_share: of the mixed micro-batches that get cutmix where both are on.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    probability: float = 1.0
    cutmix_share: float = 0.5

    def __post_init__(self) -> None:
        require_between(self, 0, 100, "mixup", "cutmix")
        require_between(self, 0, 1, "probability", "cutmix_share")

    def is_on(self) -> bool:
        """Whether anything is mixed."""
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True)
class LossConfig:
    """What is minimised; see `classification.losses`.

    Attributes:
        kind: "softmax" is the paper's cross-entropy, "binary" one logistic loss per class (Wightman et al.
            2021).
        smoothing: share of the target spread evenly over all classes (Szegedy et al. 2016).
        target_threshold: of "binary": targets above it become 1, the others 0; None leaves them as they are.
        sum_classes: of "binary": the sum over the classes instead of their mean.
    """

    kind: Literal["softmax", "binary"] = "softmax"
    smoothing: float = 0.0
    target_threshold: float | None = None
    sum_classes: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise UserError(f"smoothing must be from 0 to below 1, got {self.smoothing}")
        if self.kind == "softmax" and (self.target_threshold is not None or self.sum_classes):
            raise UserError("target_threshold and sum_classes belong to kind binary, got them with softmax")
        if self.target_threshold is not None and not 0 <= self.target_threshold < 1:
            raise UserError(f"target_threshold must be from 0 to below 1, got {self.target_threshold}")
        if self.target_threshold is not None and self.smoothing:
            raise UserError(
                f"target_threshold {self.target_threshold} makes targets 0 or 1 and undoes smoothing "
                f"{self.smoothing}; leave one of them out"
            )


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
