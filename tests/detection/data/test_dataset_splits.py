"""Where the splits of each kind of data set lie, and that everything that opens one looks there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detection.config import DetectionConfig
from detection.data.dataset_splits import DataConfig, locate_splits, open_dataset, parse_split
from detection.data.shapes_scenes import CLASSES, ShapesFolders
from detection.data.voc_dataset import VocSplit
from detection.own_sets.dataset_kinds import DATASETS
from foundation.errors import UserError
from pictures.annotations.coco_split import CocoSplit, coco_split
from training.config import load_config

CAT = ("cat", (11, 21, 30, 40), 0)


def test_coco(coco_root: Path):
    dataset = open_dataset(DataConfig(kind="coco", root=str(coco_root)), "val")
    assert (dataset.classes, dataset.image_ids) == (["person", "dog"], [30, 10, 20])
    assert dataset.image_path(1) == coco_root / "val" / "a.jpg"
    with pytest.raises(
        UserError, match=r"\(COCO with annotations/\) has no split 'vall'; did you mean 'val'"
    ):
        open_dataset(DataConfig(kind="coco", root=str(coco_root)), "vall")


def test_voc_joins_splits(write_voc: Callable[..., Path]):
    root = write_voc({"000007": [CAT]}, split="val")
    write_voc({"2008_000002": []}, year="2012", split="train")
    dataset = open_dataset(DataConfig(kind="voc", root=str(root)), "2012:train+2007:val")
    assert dataset.image_ids == ["2008_000002", "000007"]
    assert dataset.load_target(1).boxes.tolist() == [[10, 20, 30, 40]]


def test_voc_has_no_masks(write_voc: Callable[..., Path]):
    root = write_voc({"000007": [CAT]}, split="val")
    with pytest.raises(UserError, match=r"masks are wanted of a VOC data set, .* boxes only"):
        open_dataset(DataConfig(kind="voc", root=str(root)), "2007:val", masks=True)


@pytest.mark.parametrize("split", ["trainval", "2007:val+2012"])
def test_voc_splits_have_a_year(write_voc: Callable[..., Path], split: str):
    root = write_voc({"000007": [CAT]}, split="val")
    wrong = split.rpartition("+")[2]
    with pytest.raises(UserError, match=f"year:split, for instance 2007:trainval, got '{wrong}'"):
        open_dataset(DataConfig(kind="voc", root=str(root)), split)


def test_shapes(shapes: ShapesFolders):
    config = DataConfig(kind="shapes", root=str(shapes.coco.parent))
    dataset = open_dataset(config, "val")
    assert (len(dataset), dataset.classes) == (100, CLASSES)
    assert (config.train, config.val) == ("train", "val")
    with pytest.raises(UserError, match="Shapes has no split 'val2017'; did you mean 'val'"):
        open_dataset(config, "val2017")


def test_without_root_a_set_has_its_place(write_voc: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    devkit = write_voc({"000007": [CAT]}, split="val")
    monkeypatch.setenv("DATA_ROOT", str(devkit.parent))
    assert open_dataset(DataConfig(kind="voc"), "2007:val").image_ids == ["000007"]
    with pytest.raises(UserError, match=str(devkit.parent / "coco" / "annotations" / "instances_val.json")):
        open_dataset(DataConfig(kind="coco"), "val")


def test_shapes_join_too(shapes: ShapesFolders):
    config = DataConfig(kind="shapes", root=str(shapes.coco.parent))
    assert len(open_dataset(config, "train+val")) == 300
    with pytest.raises(UserError, match="Shapes has no split 'vall'; did you mean 'val'"):
        open_dataset(config, "train+vall")


def test_located_is_what_is_opened(coco_root: Path, write_voc: Callable[..., Path]):
    config = DataConfig(kind="coco", root=str(coco_root))
    assert locate_splits(config, "val+more") == [coco_split(coco_root, "val"), coco_split(coco_root, "more")]
    devkit = write_voc({"000007": [CAT]}, split="val")
    located = locate_splits(DataConfig(kind="voc", root=str(devkit)), "2007:val+2012:test")
    assert located == [VocSplit(devkit / "VOC2007", "val"), VocSplit(devkit / "VOC2012", "test")]
    assert [str(split) for split in located] == ["2007:val", "2012:test"]


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("coco:a/b.json:c", CocoSplit(Path("a/b.json"), Path("c"))),
        ("coco:a/annotations/instances_x.json", coco_split(Path("a"), "x")),
        ("voc:devkit/VOC2007:val", VocSplit(Path("devkit/VOC2007"), "val")),
        ("voc:devkit/VOC2007", None),
        ("voc:devkit/2007:val", None),
        ("coco:", None),
        ("a.json", None),
    ],
)
def test_splits_of_command_lines(text: str, split: object):
    assert parse_split(text) == split


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="unknown kind of data set 'pascal'; choose from voc, coco, yolo"):
        DataConfig(kind="pascal")
    folders = {"VOCdevkit", "coco", "shapes", "few_shapes", "ILSVRC", "shapes_ilsvrc", None}
    assert {kind.folder for kind in DATASETS.values()} == folders


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": "shapes", "pictures": "images"}, "pictures has no effect with kind=shapes; leave it out"),
        ({"classes": ("cat", "cat")}, r"classes must be names, each once, got \['cat', 'cat'\]"),
        ({"classes": ()}, r"classes must be names, each once, got \[\]"),
        ({"val_share": 1.0}, "val_share must be above 0 and below 1, got 1.0"),
    ],
)
def test_options_of_own_sets(options: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        DataConfig(**options)
    config = load_config(DetectionConfig, None, ["data.classes=[cat, dog]"]).data
    assert config.classes == ("cat", "dog")


@pytest.mark.parametrize("kind", ["coco", "shapes"])
def test_only_vocs_objects_are_difficult(kind: str):
    text = (
        f"difficult=train is for kind=voc, got kind={kind}, whose crowds are no single objects; leave it out"
    )
    with pytest.raises(ValueError, match=text):
        DataConfig(kind=kind, difficult="train")
    with pytest.raises(UserError, match=r"data\.difficult.*'leave_out' or 'train'"):
        load_config(DetectionConfig, None, ["data.kind=voc", "data.difficult=keep"])
