"""Data sets of a configuration: their options, where the splits lie, and how they are opened.

The kinds of data sets stand in `detection/own_sets/dataset_kinds.py`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detection.data.annotations import DetectionDataset, JoinedDataset
from detection.data.voc_dataset import VocSplit
from detection.imagenet.ilsvrc_lists import TrainSample
from detection.layouts.layout import FoundSet, Layout, SetOptions, open_layout, read_split, told_apart
from detection.layouts.picture_places import is_file_name
from detection.own_sets.dataset_kinds import DATASETS, DatasetKind, SplitFiles
from detection.own_sets.kind_guess import guess_kind
from foundation.errors import UserError, suggest
from pictures.annotations.coco_split import CocoSplit, coco_split_of_file
from training.config import data_root, require_between


@dataclass(frozen=True)
class DataConfig:
    """Where the pictures are and how they are resized.

    Attributes:
        kind: of `DATASETS`: "coco" (JSON), "voc" (XML), "yolo" (text files), "labelme", "csv" (tables),
            "via", "imagenet_det" and "imagenet_loc" (ILSVRC's archives), or "shapes" (generated on first use;
            "few_shapes" with five classes, not ten); docs/data_layouts.md says which layouts are read.
        root: folder of the set; None means its place under $DATA_ROOT.
        train, val: splits, several joined by "+": COCO "train2017", or a file of annotations below root
            (without root, below the working folder); VOC's devkit "2007:trainval"; of other sets "train",
            "val", "test", or as they call theirs. "" takes what the kind has: COCO's 2017 or VOC's 2007, of
            sets of your own "train" and "val", drawn from all pictures where the set is not divided; ImageNet
            DET's "train+val1" and "val2".
        pictures: folder of the pictures below root, where it is not found by itself.
        classes: names in the order of the labels, or "auto", all labels that occur by name. None takes the
            set's own list, of VOC's devkit the 20 classes unless it has a classes.txt, else as "auto".
        val_share: of an undivided set, the share of the pictures to validate on.
        split_seed: draws them, and the pictures of train_per_class.
        train_per_class: of ImageNet DET's "train", how many positive pictures of each class; None takes all.
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
    train: str = ""
    val: str = ""
    pictures: str | None = None
    classes: Literal["auto"] | tuple[str, ...] | None = None
    val_share: float = SetOptions.val_share
    split_seed: int = SetOptions.split_seed
    train_per_class: int | None = None
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
        kind = DATASETS[self.kind]
        # Beside a file the other split is one of the same set, not COCO's.
        files = any(map(is_file_name, (self.train, self.val)))
        defaults = ("train", "val") if files else kind.splits(None if self.root is None else Path(self.root))
        for key, default in zip(("train", "val"), defaults, strict=True):
            object.__setattr__(self, key, getattr(self, key) or default)
        names = self.classes if isinstance(self.classes, tuple) else ("auto",)
        if not names or len(set(names)) < len(names):
            raise ValueError(f"classes must be names, each once, got {list(names)}")
        given = [key for key in ("pictures", "classes") if getattr(self, key) is not None]
        if given and kind.find is None:
            raise ValueError(f"{given[0]} has no effect with kind={self.kind}; leave it out")
        if self.train_per_class is not None and kind.sampled is None:
            raise ValueError(
                f"train_per_class is for kind=imagenet_det, whose training pictures are listed by class, got "
                f"kind={self.kind}; leave it out"
            )
        require_between(self, 1, math.inf, "train_per_class")
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share must be above 0 and below 1, got {self.val_share}")
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
        place = DATASETS[self.kind].folder
        if self.root is not None:
            return Path(self.root)
        if place is None:
            raise UserError(f"data.root is not set; data.kind={self.kind} is your own set: name its folder")
        return data_root() / place

    @property
    def set_options(self) -> SetOptions:
        """What readers of layouts need to know; paths are relative to `root`, or to the working folder."""
        pictures = None if self.pictures is None else Path(self.root or ".") / self.pictures
        return SetOptions(
            self.train,
            self.val,
            pictures,
            self.classes,
            self.val_share,
            self.split_seed,
            self.train_per_class,
        )

    @property
    def dataset_kind(self) -> DatasetKind:
        """The entry of `DATASETS`, with the sample of its training pictures that is asked for."""
        kind = DATASETS[self.kind]
        if kind.sampled is None or self.train_per_class is None:
            return kind
        return kind.sampled(TrainSample(self.train_per_class, self.split_seed))


def open_dataset(config: DataConfig, split: str, *, masks: bool = False) -> DetectionDataset:
    """One split of the set, or several joined by "+": VOC "2007:test", COCO "val2017", Shapes "val".

    Args:
        masks: also read the objects' masks.
    Raises:
        UserError: the files are not where `data.root` or $DATA_ROOT says, are malformed, or have no masks.
    """
    return open_read(config, split, read_layouts(config, split), masks=masks)


def open_read(
    config: DataConfig, split: str, layouts: Sequence[Layout] | None, *, masks: bool
) -> DetectionDataset:
    """The data set of a split whose `layouts` were read; None of a kind that opens it itself."""
    if layouts is None:
        opener = config.dataset_kind.open
        assert opener is not None  # `layout_root` gives one of whatever has none
        return opener(config.folder, split, masks)
    parts = [open_layout(layout, masks=masks) for layout in layouts]
    return parts[0] if len(parts) == 1 else JoinedDataset(parts, split)


def read_layouts(config: DataConfig, split: str) -> list[Layout] | None:
    """The parts of a split that is in a layout of other programs; None of all others."""
    root = layout_root(config, split)
    return None if root is None else read_found(find_at(config, root), config, split)


def layout_root(config: DataConfig, split: str) -> Path | None:
    """Where to find a split that is in a layout of other programs; None of all others."""
    kind, options = DATASETS[config.kind], config.set_options
    files = any(map(is_file_name, (split, config.train, config.val)))
    own = (
        kind.open is None
        or config.root is not None
        or files
        or options != SetOptions(options.train, options.val)
    )
    if kind.find is None or (kind.open and (not own or kind.opens(config.folder, split, options))):
        return None
    return Path(".") if files and config.root is None else config.folder


def find_at(config: DataConfig, root: Path) -> FoundSet:
    """The set in a folder of `layout_root`; UserError, which says what the folder looks like, of none."""
    find = DATASETS[config.kind].find
    assert find is not None  # else `layout_root` is None
    try:
        return find(root, config.set_options)
    except UserError as error:
        if (other := guess_kind(root)) in (None, config.kind):
            raise
        raise UserError(f"{error}. It looks like a set of data.kind={other}") from None


def read_found(found: FoundSet, config: DataConfig, split: str) -> list[Layout]:
    """The parts of a split of a set."""
    return told_apart([read_split(found, part, config.set_options) for part in split.split("+")], found.root)


def locate_splits(config: DataConfig, split: str) -> Sequence[SplitFiles]:
    """The files of the splits that `open_dataset` would open, a UserError where the set has no such split.

    There are none of a kind that does not say.
    """
    locate = config.dataset_kind.locate
    return [] if locate is None else locate(config.folder, split)


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
    if kind == "voc" and name and re.fullmatch(r"VOC\d+", Path(folder).name):
        return VocSplit(Path(folder), name)
    return None
