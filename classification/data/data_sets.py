"""Which data sets a configuration can name, and what can be asked of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from classification.data.augment import POLICY_NAME
from classification.data.cifar10 import Cifar10
from classification.data.class_folders import list_folder
from classification.data.huggingface_reader import HuggingFaceReader
from classification.data.labelled_batches import Pictures
from classification.data.shapes_folders import ensure_shapes
from classification.data.shards import ShardReader
from foundation.errors import UserError, check_choice
from pictures.shapes import CLASSES, FEW_CLASSES
from training.config import data_root, require_between, require_positive


@dataclass(frozen=True)
class DataConfig:
    """Which pictures, and what is done to them.

    CIFAR-10 has its own augmentation (§4.2) and refuses the options from image_size to broken.

    Attributes:
        kind: "folder" is the layout of ImageNet, one folder per class in each split; "shards" are tar files
            as WebDataset's; "huggingface" is a data set of that hub (docs/conventions.md); "shapes" is
            generated on first use, "few_shapes" with five classes instead of ten.
        root: None takes the kind's folder under $DATA_ROOT; "huggingface" needs a hub name or a folder.
        train_split: folder below root; of shards also a pattern, train-{000..146}.tar; for CIFAR-10 "train"
            (50k) or "train45k".
        val_split: what is evaluated and what "best" is chosen on; for CIFAR-10 "test" or "val5k".
        image_size: pixels of the square training crop, and of evaluation's centre crop.
        eval_size: pixels of the centre crop where it is to differ (Touvron et al. 2019).
        resize: short side in pixels before the centre crop.
        augment: "paper" scales the short side at random before the crop (He et al. 2015, §3.4), "inception"
            crops 8–100 % of the area (Szegedy et al. 2015).
        short_side: range of the former in pixels; None takes the paper's [256, 480] · image_size / 224.
        pca_colour: deviation of AlexNet's colour shift, which the paper uses; 0 switches it off.
        policy: further random augmentation of a training crop: torchvision's "trivial", "rand" or "auto", or
            timm's by its own names, such as "rand-m7-mstd0.5-inc1".
        erase: probability of a rectangle of the training crop to be erased (Zhong et al. 2020).
        mean: "pixel" subtracts the training pictures' mean picture, as the paper does; "channel" ImageNet's
            channel means, and divides by the deviations.
        broken: "skip" trains on the next picture in place of a broken one, and reports it; evaluation always
            stops at one, since an error over other pictures would be another number.
        picture_column, label_column: of a Hugging Face data set.
    """

    kind: str
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
        check_choice("kind", self.kind, OPENERS)
        if self.kind == "huggingface" and self.root is None:
            raise UserError("root must be the name of the data set on the Hugging Face hub, or its folder")
        changed = [option.name for option in fields(self)[4:] if getattr(self, option.name) != option.default]
        for name in changed:
            if name in ("picture_column", "label_column") and self.kind != "huggingface":
                raise UserError(f"{name} belongs to kind huggingface, got {self.kind}; leave it out")
            if self.kind == "cifar10":
                raise UserError(f"{name} does not apply to cifar10; leave it out")
        require_between(self, 0, 10, "pca_colour")
        require_between(self, 0, 1, "erase")
        if self.policy is not None and not re.fullmatch(POLICY_NAME, self.policy):
            raise UserError(
                'policy must be "trivial", "rand", "auto" or as "rand-m7-mstd0.5-inc1" (m 0 to 10, n from 1, '
                f"mmax: integers; p 0 to 1; mstd; inc1), got {self.policy!r}"
            )
        self._check_sizes()

    def _check_sizes(self) -> None:
        name, size = "image_size" if self.eval_size is None else "eval_size", self.centre_size()
        if not 0 < size <= self.resize:
            raise UserError(
                f"{name} must be positive and at most resize, got {name} {size} and resize {self.resize}"
            )
        require_positive(self, "image_size")
        if self.short_side is None:
            return
        given = list(self.short_side)
        if self.augment == "inception":
            raise UserError(
                "short_side belongs to augment paper and does nothing with inception; leave it out, got "
                f"{given}"
            )
        if not self.image_size <= given[0] <= given[1]:
            raise UserError(
                "short_side must be a range [low, high] from image_size on, got "
                f"{given} and image_size {self.image_size}"
            )

    def folder(self, name: str) -> Path:
        """The data set's folder: root, or without it the one of this name under $DATA_ROOT."""
        return Path(self.root or data_root() / name)

    def centre_size(self) -> int:
        """Pixels of the centre crop of evaluation."""
        return self.image_size if self.eval_size is None else self.eval_size

    def jitter(self) -> tuple[float, float]:
        """The range of the short side in pixels."""
        return self.short_side or (256 * self.image_size / 224, 480 * self.image_size / 224)


@runtime_checkable
class PictureReader(Protocol):
    """The encoded pictures of one split, any of them by its index.

    Streams, as WebDataset and timm read shards, would not do: their order depends on buffers, workers and
    processes, so a resumed run could not go on at the very next picture.
    """

    classes: list[str]  # K names
    labels: Tensor  # (N,) int64, 0 … K−1

    def name(self, index: int) -> str:
        """What messages call a picture: its path, or its shard and member."""

    def content(self, index: int) -> bytes:
        """A picture as stored; a UserError if it cannot be read."""


# A new data set is a line here: (configuration, split, training) → its encoded pictures, which
# `classification.data.encoded_pictures` decodes and augments, or else `Pictures` of its own.
OPENERS: dict[str, Callable[[DataConfig, str, bool], PictureReader | Pictures]] = {
    "shapes": lambda config, split, _: list_folder(ensure_shapes(config.folder("shapes"), CLASSES), split),
    "few_shapes": lambda config, split, _: list_folder(
        ensure_shapes(config.folder("few_shapes"), FEW_CLASSES), split
    ),
    "cifar10": lambda config, split, training: Cifar10(
        config.folder("cifar-10-batches-py"), split, train_split=config.train_split, training=training
    ),
    "folder": lambda config, split, _: list_folder(config.folder("imagenet"), split),
    "shards": lambda config, split, _: ShardReader(config.folder("imagenet"), split),
    "huggingface": lambda config, split, _: HuggingFaceReader(
        str(config.root), split, config.picture_column, config.label_column
    ),
}
