"""Sets written as COCO and as YOLO read back as they were."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from detection.data.annotations import DetectionDataset
from detection.data.dataset_splits import DataConfig, open_dataset
from detection.own_sets.given_sets import read_given, write_sets
from foundation.errors import UserError

SET = {
    "images/train/b.jpg": None,
    "images/train/a.png": None,
    "labels/train/b.txt": "1 0.5 0.5 0.2 0.2\n0 0.123456 0.4 0.1 0.3\n",
    "images/val/c.jpg": None,
    "labels/val/c.txt": "0 0.5 0.5 1 1\n",
    "classes.txt": "cat\ndog\n",
}


def as_seen(dataset: DetectionDataset) -> list[object]:
    """Everything that trainings see of a set but the names of its pictures."""
    rows = [(t.size, t.boxes.tolist(), t.labels.tolist(), t.ignore.tolist()) for t in dataset.targets]
    return [dataset.classes, rows, [dataset.image_path(i).read_bytes() for i in range(len(dataset))]]


def test_yolo_as_coco_and_back(place: Callable, opened: Callable, tmp_path: Path):
    root, file = place(SET), tmp_path / "train.json"
    (line,) = write_sets([f"yolo:{root}:train"], file, None)
    assert line.endswith(f"read it with data.kind=coco data.train={file} data.pictures={root}")
    content = json.loads(file.read_text())
    assert [image["id"] for image in content["images"]] == [1, 2]
    assert [(entry["id"], entry["image_id"]) for entry in content["annotations"]] == [(1, 2), (2, 2)]
    ours = opened("yolo", root)[0]
    theirs = open_dataset(
        DataConfig(kind="coco", train=str(file), pictures=str(root), val=str(file)), str(file)
    )
    assert as_seen(ours) == as_seen(theirs)
    lines = write_sets([f"yolo:{root}"], None, tmp_path / "again")
    assert lines[:2] == ["train: 2 pictures, 2 objects", "val: 1 picture, 1 object"]
    again = opened("yolo", tmp_path / "again")
    assert list(map(as_seen, again)) == list(map(as_seen, opened("yolo", root)))


def test_polygons_stay_where_all_objects_have_one(place: Callable, opened: Callable, tmp_path: Path):
    polygon = "0 0.1 0.1 0.5 0.1 0.1 0.9\n"
    root = place({**SET, "labels/train/b.txt": polygon, "labels/val/c.txt": polygon})
    write_sets([f"yolo:{root}"], None, tmp_path / "outlined")
    assert (tmp_path / "outlined" / "labels" / "train" / "b.txt").read_text() == polygon
    place({"labels/val/c.txt": "0 0.5 0.5 0.2 0.2"})
    lines = write_sets([f"yolo:{root}"], None, tmp_path / "boxes")
    assert lines[2] == "outlines left out: not every object has one polygon that its box just holds"
    assert as_seen(opened("yolo", tmp_path / "boxes")[0]) == as_seen(opened("yolo", root)[0])


def test_order_and_crowds(write_coco: Callable[..., Path], opened: Callable, tmp_path: Path):
    """The pictures c, a, b in this order; one object is a crowd."""
    file = write_coco()
    lines = write_sets([f"coco:{file}:{file.parent}"], None, tmp_path / "out")
    assert lines[0] == "train: 3 pictures, 2 objects, 1 crowds or difficult objects left out"
    assert "train: train.txt\n" in (tmp_path / "out" / "data.yaml").read_text()
    dataset = open_dataset(DataConfig(kind="yolo", root=str(tmp_path / "out"), val="train"), "train")
    assert [Path(str(name)).name for name in dataset.image_ids] == ["c.jpg", "a.jpg", "b.jpg"]
    assert dataset.classes == ["person", "dog"]


def test_what_is_refused(place: Callable, tmp_path: Path):
    root = place(SET)
    with pytest.raises(UserError, match=r"--write-coco writes one split to a file, got yolo:.*:train, yolo:"):
        write_sets([f"yolo:{root}"], tmp_path / "x.json", None)
    with pytest.raises(UserError, match="exists, and nothing is overwritten; choose another name"):
        write_sets([f"yolo:{root}"], None, root)
    with pytest.raises(UserError, match="would both be written as train; name one"):
        write_sets([f"yolo:{root}:train"] * 2, None, tmp_path / "x")
    place({"labels/val/c.txt": "7 0.5 0.5 1 1\n"})
    with pytest.raises(UserError, match=r"labels/val/c\.txt line 1: class 7 is beyond the 2 names"):
        write_sets([f"yolo:{root}"], None, tmp_path / "x")
    place({"labels/val/c.txt": "", "images/val/c.png": None})
    with pytest.raises(UserError, match="another picture has the same name but its suffix; rename one"):
        write_sets([f"yolo:{root}"], None, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_pictures_above_their_annotations_stay_in_the_new_folder(write_coco: Callable, tmp_path: Path):
    file = write_coco()
    content = json.loads(file.read_text())
    (tmp_path / "below").mkdir()
    moved = file.rename(tmp_path / "below" / "boxes.json")
    for image in content["images"]:
        image["file_name"] = f"../{image['file_name']}"
    content["categories"][0]["name"] = r"per\son's"
    moved.write_text(json.dumps(content))
    write_sets([f"coco:{moved}:{moved.parent}"], None, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "images" / "train").iterdir()) == [
        "a.jpg", "b.jpg", "c.jpg",
    ]  # fmt: skip
    dataset = open_dataset(DataConfig(kind="yolo", root=str(tmp_path / "out"), val="train"), "train")
    assert dataset.classes == ["person", r"per\son's"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_penn_fudan_keeps_its_boxes(real_data: Path, tmp_path: Path, split: str):
    folder = real_data / "PennFudanPed"
    text = f"coco:{folder / 'annotations' / f'instances_{split}.json'}:{folder / 'images'}"
    write_sets([text], None, tmp_path / "out")
    (given,) = read_given(text)
    (written,) = read_given(f"yolo:{tmp_path / 'out'}")
    ours, theirs = given.layout.content["annotations"], written.layout.content["annotations"]
    assert [entry["bbox"] for entry in ours] == [entry["bbox"] for entry in theirs]


def test_the_devkit_keeps_its_boxes(real_data: Path, tmp_path: Path):
    text = f"voc:{real_data / 'VOCdevkit' / 'VOC2007'}:test"
    write_sets([text], None, tmp_path / "out")
    (given,) = read_given(text)
    (written,) = read_given(f"yolo:{tmp_path / 'out'}")
    names = {category["id"]: category["name"] for category in written.layout.content["categories"]}
    assert [
        (entry["bbox"], names[entry["category_id"]])
        for entry in given.layout.content["annotations"]
        if not entry["iscrowd"]
    ] == [(e["bbox"], names[e["category_id"]]) for e in written.layout.content["annotations"]]
