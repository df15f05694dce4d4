"""Sets to score result files on, as command lines name them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detection.imagenet import ilsvrc_shapes
from detection.result_files.scored_sets import open_scored_set
from detection.results.detection_report import NOTHING, ReportOptions
from foundation.errors import UserError

LINE = "0 0.5 0.5 0.5 0.5"
YOLO = {
    "images/valid/a.jpg": None,
    "images/train/b.jpg": None,
    "labels/valid/a.txt": LINE,
    "classes.txt": "cat",
}


def test_an_annotation_file_with_pictures_elsewhere(coco_root: Path, tmp_path: Path):
    file = coco_root / "annotations" / "instances_val.json"
    split, folders, about = open_scored_set(f"coco:{file}", None, [], NOTHING)
    assert (split.kind, split.name, split.metric) == ("coco", "val", "coco")
    assert folders == [coco_root / "val"] and about == {"dataset": f"coco:{file}", "pictures": None}
    split, folders, about = open_scored_set(f"coco:{file}", None, [], ReportOptions(pictures=tmp_path))
    assert folders == [tmp_path] and about["pictures"] == str(tmp_path)
    assert split.dataset.image_path(0).parent == tmp_path


@pytest.mark.parametrize(("method", "metric"), [(None, "voc12"), ("area", "voc12"), ("11point", "voc07")])
def test_a_devkit(write_voc: Callable[..., Path], method: str | None, metric: str):
    folder = write_voc({"000001": [("cat", (1, 1, 10, 10), 0)]}) / "VOC2007"
    split, folders, _ = open_scored_set(f"voc:{folder}:train", method, [], NOTHING)
    assert (split.kind, split.name, split.metric) == ("voc", "2007:train", metric)
    assert folders == [folder / "JPEGImages"] and split.dataset.image_ids == ["000001"]


def test_a_set_of_ones_own(place: Callable[..., Path]):
    root = place(YOLO)
    split, folders, about = open_scored_set(f"yolo:{root}:valid", None, [], NOTHING)
    assert (split.kind, split.name, split.metric) == ("yolo", "valid", "coco")
    assert [folder.resolve() for folder in folders] == [root, root / "images" / "valid"]
    assert about["config"]["data"]["val"] == "valid" and json.dumps(about)
    assert open_scored_set(f"yolo:{root}", "11point", [], NOTHING).split.metric == "voc07"
    assert open_scored_set(f"yolo:{root}", None, ["metric=voc12"], NOTHING).split.metric == "voc12"


def test_a_set_of_imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ilsvrc_shapes, "DET_SPLITS", {"train": 4, "val": 4, "test": 1})
    monkeypatch.setattr(ilsvrc_shapes, "LOC_SPLITS", {"train": 1, "val": 17, "test": 1})
    root = ilsvrc_shapes.ensure_ilsvrc(tmp_path)
    split, _, _ = open_scored_set(f"imagenet_det:{root}:val", None, [], NOTHING)
    assert (split.kind, split.name, split.metric) == ("imagenet_det", "val", "ilsvrc_det")
    assert len(split.dataset) == 4
    assert open_scored_set(f"imagenet_det:{root}", None, [], NOTHING).split.name == "val2"


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("coco:a.json", {"method": "area"}, "--method is of VOC AP; leave it out with --dataset coco:"),
        ("coco:a.json", {"overrides": ["metric=coco"]}, "metric=coco changes a detector's configuration"),
        ("kitti:a", {}, r"--dataset must be KIND:ROOT\[:SPLIT\] of a folder"),
    ],
)
def test_what_has_no_effect_is_refused(text: str, given: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        open_scored_set(text, **{"method": None, "overrides": [], "options": NOTHING, **given})
