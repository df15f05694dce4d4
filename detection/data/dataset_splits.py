"""Data sets by their kind: the options of a configuration, where the splits lie, and how they are opened.

A data set is added by its module, which says where its splits lie, and one line of the table `DATASETS`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detection.data.annotations import DetectionDataset, JoinedDataset
from detection.data.coco_dataset import CocoDataset, CocoSplit, coco_split, coco_split_of_file
from detection.data.shapes_scenes import SPLITS, ensure_shapes
from detection.data.voc_dataset import VocDataset, VocSplit
from foundation.errors import UserError, suggest
from training.config import data_root, require_between


@dataclass(frozen=True)
class DatasetKind:
    """One kind of data set.

    Attributes:
        folder: its place below $DATA_ROOT.
        open: (root, split, masks) gives the data set; a split is the configuration's text, several joined by
            "+"; with masks `load_target` must give them.
        locate: (root, split) gives the files of each split. The doctor reads these itself, because a loader
            stops at the first fault; without them it examines what the opened data set gives.
    """

    folder: str
    open: Callable[[Path, str, bool], DetectionDataset]
    locate: Callable[[Path, str], Sequence[CocoSplit | VocSplit]] | None = None


def _locate_coco(root: Path, split: str) -> list[CocoSplit]:
    return [coco_split(root, part) for part in split.split("+")]


def _open_coco(root: Path, split: str, masks: bool) -> DetectionDataset:
    parts = [CocoDataset(*files, masks=masks) for files in _locate_coco(root, split)]
    return parts[0] if len(parts) == 1 else JoinedDataset(parts, split)


def _shapes_root(root: Path, split: str) -> Path:
    for unknown in set(split.split("+")) - set(SPLITS):
        raise UserError(f"Shapes has no split {unknown!r}{suggest(unknown, SPLITS)}")
    return ensure_shapes(root).coco


def _voc_parts(split: str) -> list[tuple[str, str]]:
    parts = [part.partition(":") for part in split.split("+")]
    for year, separator, _ in parts:
        if not separator:
            raise UserError(f"a VOC split is written year:split, for instance 2007:trainval, got {year!r}")
    return [(year, name) for year, _, name in parts]


def _open_voc(root: Path, split: str, masks: bool) -> DetectionDataset:
    if masks:
        raise UserError(
            "masks are wanted of a VOC data set, whose annotations are boxes only; take data.kind=coco "
            "or shapes, or do without (detector.mask=false)"
        )
    return VocDataset(root, _voc_parts(split))


DATASETS = {
    "voc": DatasetKind(
        "VOCdevkit",
        _open_voc,
        lambda root, split: [VocSplit.of(root, *part) for part in _voc_parts(split)],
    ),
    "coco": DatasetKind("coco", _open_coco, _locate_coco),
    "shapes": DatasetKind(
        "shapes",
        lambda root, split, masks: _open_coco(_shapes_root(root, split), split, masks),
        lambda root, split: _locate_coco(_shapes_root(root, split), split),
    ),
}


@dataclass(frozen=True)
class DataConfig:
    """Where the pictures are and how they are resized.

    Attributes:
        kind: of `DATASETS`: "voc" (devkit folders), "coco" (JSON) or "shapes" (generated on first use).
        root: folder of the set; None means its place under $DATA_ROOT.
        train, val: COCO and Shapes "train2017"; VOC "2007:trainval"; several joined by "+".
        short_side, max_side: pixels; the short side is scaled to the first unless the long one would exceed
            the second.
        train_short_sides: one of them at random for every training picture, instead of short_side
            (multi-scale training).
        jitter: two factors; training pictures are scaled by a random one between them, of the size at which
            they just fit into `crop` (large-scale jitter, Ghiasi et al. 2021).
        crop: with jitter, pixels of the sides of the window that is cut out at random.
        flip: half of the training pictures, chosen at random, are mirrored.
        difficult: what training does with VOC's difficult objects: "leave_out", or "train" on them as on all
            others, as detectron2 does. Scores never count them.
        max_boxes: pictures with more objects train on a random choice of that many, which bounds the memory
            of matching.
    """

    kind: str = "coco"
    root: str | None = None
    train: str = "train2017"
    val: str = "val2017"
    short_side: int = 600
    max_side: int = 1000
    train_short_sides: tuple[int, ...] = ()
    jitter: tuple[float, ...] = ()
    crop: int | None = None
    flip: bool = True
    difficult: Literal["leave_out", "train"] = "leave_out"
    max_boxes: int = 200

    def __post_init__(self) -> None:
        if self.kind not in DATASETS:
            raise ValueError(f"unknown kind of data set {self.kind!r}{suggest(self.kind, DATASETS)}")
        if self.difficult == "train" and self.kind != "voc":
            raise ValueError(
                f"difficult=train is for kind=voc, got kind={self.kind}, whose crowds are no single objects; "
                "leave it out"
            )
        require_between(self, 1, math.inf, "short_side", "max_boxes")
        if self.max_side < self.short_side:
            raise ValueError(f"max_side must be at least short_side {self.short_side}, got {self.max_side}")
        if not all(1 <= side <= self.max_side for side in self.train_short_sides):
            limits = f"from 1 to max_side {self.max_side}"
            raise ValueError(f"train_short_sides must be {limits}, got {list(self.train_short_sides)}")
        low, high = self.jitter if len(self.jitter) == 2 else (0, 0)
        if self.jitter and not 0 < low <= high < math.inf:
            raise ValueError(f"jitter must be two ascending factors above 0, got {list(self.jitter)}")
        if bool(self.jitter) != (self.crop is not None):
            raise ValueError("jitter and crop belong together: set both or neither")
        require_between(self, 1, math.inf, "crop")
        if self.crop is not None and self.train_short_sides:
            raise ValueError("train_short_sides has no effect with jitter; leave one of them out")

    @property
    def folder(self) -> Path:
        """The root of the set: `root`, or its place under $DATA_ROOT."""
        return data_root() / DATASETS[self.kind].folder if self.root is None else Path(self.root)


def open_dataset(config: DataConfig, split: str, *, masks: bool = False) -> DetectionDataset:
    """One split of the set, or several joined by "+": VOC "2007:test", COCO "val2017", Shapes "val".

    Args:
        masks: also read the objects' masks.
    Raises:
        UserError: the files are not where `data.root` or $DATA_ROOT says, are malformed, or have no masks.
    """
    return DATASETS[config.kind].open(config.folder, split, masks)


def locate_splits(config: DataConfig, split: str) -> Sequence[CocoSplit | VocSplit]:
    """The files of the splits that `open_dataset` would open, a UserError where the set has no such split.

    There are none of a kind that does not say.
    """
    locate = DATASETS[config.kind].locate
    return locate(config.folder, split) if locate else []


def parse_split(text: str) -> CocoSplit | VocSplit | None:
    """A split as command lines write it; None if the text has another form.

    Args:
        text: "coco:ANNOTATIONS.json[:PICTURE_FOLDER]", whose pictures lie where COCO's would unless told, or
            "voc:DEVKIT/VOC<year>:<split>".
    """
    kind, _, rest = text.partition(":")
    if kind == "coco" and rest:
        file, _, folder = rest.partition(":")
        return CocoSplit(Path(file), Path(folder)) if folder else coco_split_of_file(Path(file))
    folder, _, name = rest.rpartition(":")
    if kind == "voc" and name and Path(folder).name.startswith("VOC"):
        return VocSplit(Path(folder), name)
    return None
