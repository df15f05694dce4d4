"""The kinds of data sets: where each lies, and how its splits are opened and found.

A data set is added by its module, which says where its splits lie, and one line of the table `DATASETS`; a
layout of other programs by its reader, as `detection/layouts/layout.py` says, and one line.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detection.data.annotations import DetectionDataset, JoinedDataset
from detection.data.coco_dataset import CocoDataset
from detection.data.shapes_scenes import shapes_of_split
from detection.data.voc_dataset import VocDataset, VocSplit
from detection.imagenet.ilsvrc_dataset import IlsvrcDataset
from detection.imagenet.ilsvrc_lists import TrainSample
from detection.imagenet.ilsvrc_places import IlsvrcPlaces, Task
from detection.imagenet.ilsvrc_shapes import ensure_ilsvrc
from detection.imagenet.ilsvrc_split import IlsvrcSplit
from detection.layouts.coco_layout import find_coco, is_official, official_splits
from detection.layouts.drawn_sets import find_csv, find_labelme, find_via
from detection.layouts.layout import FoundSet, SetOptions
from detection.layouts.voc_layout import devkit_splits, find_voc, is_devkit
from detection.layouts.yolo_layout import find_yolo
from foundation.errors import UserError
from pictures.annotations.coco_split import CocoSplit, coco_split
from pictures.shapes import CLASSES, FEW_CLASSES

SplitFiles = CocoSplit | VocSplit | IlsvrcSplit


@dataclass(frozen=True)
class DatasetKind:
    """One kind of data set.

    Attributes:
        folder: its place below $DATA_ROOT; None of sets that have none, whose `data.root` must be named.
        open: (root, split, masks) gives the data set; a split is the configuration's text, several joined by
            "+"; with masks `load_target` must give them.
        locate: (root, split) gives the files of each split. The doctor reads these itself, because a loader
            stops at the first fault; without them it examines what the opened data set gives.
        find: (root, options) finds a set in the layouts in which other programs write it; see
            `detection/layouts/layout.py`. Whatever `open` does not take is read so.
        opens: (root, split, options) says whether `open` takes a set of somebody's own.
        splits: (root, None for the place below $DATA_ROOT) gives the defaults of `data.train` and `data.val`.
        sampled: gives the kind whose "train" is drawn from lists of classes, as `data.train_per_class` says;
            None of kinds that have no such lists.
    """

    folder: str | None
    open: Callable[[Path, str, bool], DetectionDataset] | None = None
    locate: Callable[[Path, str], Sequence[SplitFiles]] | None = None
    find: Callable[[Path, SetOptions], FoundSet] | None = None
    opens: Callable[[Path, str, SetOptions], bool] = lambda root, split, options: False
    splits: Callable[[Path | None], tuple[str, str]] = lambda root: ("train", "val")
    sampled: "Callable[[TrainSample], DatasetKind] | None" = None


def _locate_coco(root: Path, split: str) -> list[CocoSplit]:
    return [coco_split(root, part) for part in split.split("+")]


def _open_coco(root: Path, split: str, masks: bool) -> DetectionDataset:
    parts = [CocoDataset(*files, masks=masks) for files in _locate_coco(root, split)]
    return parts[0] if len(parts) == 1 else JoinedDataset(parts, split)


def _generated(folder: str, classes: Sequence[str]) -> DatasetKind:
    """Shapes, drawn with these classes."""
    return DatasetKind(
        folder,
        lambda root, split, masks: _open_coco(shapes_of_split(root, split, classes), split, masks),
        lambda root, split: _locate_coco(shapes_of_split(root, split, classes), split),
    )


def _voc_parts(split: str) -> list[tuple[str, str]]:
    parts = [part.partition(":") for part in split.split("+")]
    for year, separator, _ in parts:
        if not separator:
            raise UserError(f"a VOC split is written year:split, for instance 2007:trainval, got {year!r}")
    return [(year, name) for year, _, name in parts]


def _refuse_masks(of: str) -> None:
    raise UserError(
        f"masks are wanted of {of} data set, whose annotations are boxes only; take data.kind=coco or "
        "shapes, or do without (detector.mask=false)"
    )


def _open_voc(root: Path, split: str, masks: bool) -> DetectionDataset:
    if masks:
        _refuse_masks("a VOC")
    return VocDataset(root, _voc_parts(split))


def _imagenet(
    folder: str,
    task: Task,
    splits: tuple[str, str],
    write: Callable[[Path], Path] | None = None,
    sample: TrainSample | None = None,
) -> DatasetKind:
    """A task of ImageNet; `write` gives the root of a generated set in its layout."""

    def locate(root: Path, split: str) -> list[IlsvrcSplit]:
        places = IlsvrcPlaces(write(root) if write else root, task)
        return [IlsvrcSplit(places, name, sample) for name in split.split("+")]

    def open_split(root: Path, split: str, masks: bool) -> DetectionDataset:
        if masks:
            _refuse_masks("an ImageNet")
        return IlsvrcDataset(locate(root, split))

    def sampled(sample: TrainSample) -> DatasetKind:
        return _imagenet(folder, task, splits, write, sample)

    return DatasetKind(
        folder,
        open_split,
        locate,
        splits=lambda root: splits,
        sampled=sampled if task == "DET" else None,
    )


DATASETS = {
    "voc": DatasetKind(
        "VOCdevkit",
        _open_voc,
        lambda root, split: [VocSplit.of(root, *part) for part in _voc_parts(split)],
        find=find_voc,
        opens=is_devkit,
        splits=devkit_splits,
    ),
    "coco": DatasetKind(
        "coco", _open_coco, _locate_coco, find=find_coco, opens=is_official, splits=official_splits
    ),
    "yolo": DatasetKind(None, find=find_yolo),
    "shapes": _generated("shapes", CLASSES),
    "few_shapes": _generated("few_shapes", FEW_CLASSES),
    "imagenet_det": _imagenet("ILSVRC", "DET", ("train+val1", "val2")),
    "imagenet_loc": _imagenet("ILSVRC", "CLS-LOC", ("train", "val")),
    "shapes_det": _imagenet("shapes_ilsvrc", "DET", ("train+val1", "val2"), ensure_ilsvrc),
    "shapes_loc": _imagenet("shapes_ilsvrc", "CLS-LOC", ("train", "val"), ensure_ilsvrc),
    "labelme": DatasetKind(None, find=find_labelme),
    "csv": DatasetKind(None, find=find_csv),
    "via": DatasetKind(None, find=find_via),
}
