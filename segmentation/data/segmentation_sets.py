"""The kinds of data sets for segmentation, the options that choose one, and how its splits are opened.

A data set is added by a module with its opener, and one line of the table `KINDS`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError, check_choice
from pictures.decoding import upright_and_stored_size
from segmentation.data.ade20k_folders import open_ade20k
from segmentation.data.coco_labels import open_coco, open_coco_stuff, open_coco_voc
from segmentation.data.mask_dataset import JoinedLabels
from segmentation.data.mask_folders import open_mask_folders
from segmentation.data.shapes_labels import open_shapes
from segmentation.data.voc_segmentation import open_voc
from segmentation.types import SegmentationDataset
from training.config import data_root, require_between
from training.loader import read_once


@dataclass(frozen=True)
class SegmentationKind:
    """One kind of data set.

    Attributes:
        folder: its place below $DATA_ROOT; None of sets that have none, whose `data.root` must be named.
        open: (root, split) gives a split.
        splits: the defaults of `data.train` and `data.val`.
    """

    folder: str | None
    open: Callable[[Path, str], SegmentationDataset]
    splits: tuple[str, str]


KINDS = {
    "voc": SegmentationKind("VOCdevkit", open_voc, ("2012:train", "2012:val")),
    "coco": SegmentationKind("coco", open_coco, ("train2017", "val2017")),
    "coco_voc": SegmentationKind("coco", open_coco_voc, ("train2017", "val2017")),
    "coco_stuff": SegmentationKind("coco", open_coco_stuff, ("train2017", "val2017")),
    "ade20k": SegmentationKind("ADEChallengeData2016", open_ade20k, ("training", "validation")),
    "folder": SegmentationKind(None, open_mask_folders, ("train", "val")),
    "shapes": SegmentationKind("shapes_segmentation", open_shapes, ("train", "val")),
}


@dataclass(frozen=True)
class SegmentationData:
    """Which pictures, and what training and evaluation see of them.

    Attributes:
        kind: "voc" (the devkit), "coco" (drawn from objects), "coco_voc" (with VOC's classes alone),
            "coco_stuff" (its PNGs), "ade20k" (the scene parsing benchmark's folders), "folder" (pictures and
            masks of one's own) or "shapes" (generated on first use); docs/segmentation.md says where each has
            its files.
        root: folder of the set; None means its place under $DATA_ROOT.
        train, val: splits, several joined by "+": VOC's "2012:train_aug", COCO's "train2017". "" takes the
            kind's own.
        short_side: pixels of a picture's short side before `scale` in training, and of what the network is
            given in evaluation; None takes pictures as their files have them. Figures are of the file's own
            pixels in either case.
        scale: two factors; training pictures are resized by a random one between them.
        crop: pixels of the sides of the window that training cuts out at random; smaller pictures are padded.
        flip: half of the training pictures, chosen at random, are mirrored.
    """

    kind: str = "voc"
    root: str | None = None
    train: str = ""
    val: str = ""
    short_side: int | None = None
    scale: tuple[float, float] = (0.5, 2.0)
    crop: int = 513
    flip: bool = True

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        for key, default in zip(("train", "val"), KINDS[self.kind].splits, strict=True):
            object.__setattr__(self, key, getattr(self, key) or default)
        require_between(self, 1, math.inf, "short_side", "crop")
        low, high = self.scale
        if not 0 < low <= high < math.inf:
            raise ValueError(f"scale must be two ascending factors above 0, got {list(self.scale)}")

    @property
    def folder(self) -> Path:
        """The root of the set: `root`, or its place under $DATA_ROOT."""
        place = KINDS[self.kind].folder
        if self.root is not None:
            return Path(self.root)
        if place is None:
            raise UserError(f"data.root is not set; data.kind={self.kind} is your own set: name its folder")
        return data_root() / place


def open_set(data: SegmentationData, split: str) -> SegmentationDataset:
    """One split of the set, or several joined by "+".

    Raises:
        UserError: the files are not where `data.root` or $DATA_ROOT says, or do not belong together.
    """
    parts = [KINDS[data.kind].open(data.folder, part) for part in split.split("+")]
    return parts[0] if len(parts) == 1 else JoinedLabels(parts, split)


def check_set(dataset: SegmentationDataset, workers: int) -> None:
    """Reads every label map once, and the size of its picture, before a training begins.

    Raises:
        UserError: one cannot be read, has an index of no class, or has not its picture's size; how many.
    """
    read_once(LabelCheck(dataset), len(dataset), workers, what="label maps")


@dataclass(frozen=True)
class LabelCheck:
    """Reads a picture's header and its label map; a UserError where they do not belong together."""

    dataset: SegmentationDataset

    def __call__(self, index: int) -> None:
        check_size(self.dataset, index, self.dataset.load_labels(index))


def check_size(dataset: SegmentationDataset, index: int, labels: NDArray[np.uint8]) -> None:
    """Refuses a label map (H, W), with a UserError, unless its picture has its size, upright or as stored."""
    path = dataset.image_path(index)
    upright, stored = upright_and_stored_size(path)
    if labels.shape not in (upright, stored):
        raise UserError(
            f"{path}: the picture is {upright[0]}x{upright[1]} (height x width), its label map "
            f"{labels.shape[0]}x{labels.shape[1]}; they do not belong together: replace one of them"
        )
