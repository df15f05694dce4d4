"""Class folders, and data sets whose files the doctor does not know."""

from collections.abc import Callable
from pathlib import Path

from detection.data.coco_dataset import CocoDataset
from doctor.survey_readers import _gaps, survey_coco, survey_dataset
from pictures.annotations.coco_split import CocoSplit


def test_class_folders(tmp_path: Path, diagnosis: Callable, draw: Callable):
    for split, name, seed in (("train", "cat", 1), ("train", "dog", 2), ("val", "cat", 3), ("val", "dog", 2)):
        draw(tmp_path / split / name / "a.png", seed)
    (tmp_path / "val" / "owl").mkdir()
    (tmp_path / "val" / "dog" / "b.png").write_bytes(b"no picture")
    (tmp_path / "val" / "dog" / "c.gif").write_bytes(b"GIF89a")
    found = {f.check: f for f in diagnosis(f"folder:{tmp_path}")}
    assert found["leak"].where == "dog/a.png" and found["unreadable_picture"].where == "dog/b.png"
    assert "owl" in found["different_classes"].detail and "owl" in found["empty_class_folder"].where
    assert found["other_suffix"].detail == "1 file left out, no pictures by their suffix: 1 .gif"
    assert "no_objects" not in found


def test_no_class_folders(tmp_path: Path, diagnosis: Callable, draw: Callable):
    draw(tmp_path / "a.png", 1)
    assert {f.check for f in diagnosis(f"folder:{tmp_path}")} >= {"no_class_folders", "no_pictures"}


def test_a_set_of_an_unknown_kind_is_what_its_loader_gives(coco: Path):
    files = CocoSplit(coco, coco.parent / "pictures")
    known, given = survey_coco(files), survey_dataset(CocoDataset(*files), "own:val")
    assert given.name == "own:val" and given.classes == known.classes
    assert [(p.path, p.size) for p in given.pictures] == [(p.path, p.size) for p in known.pictures]
    assert [(o.picture, o.category, o.box, o.ignore) for o in given.objects] == [
        (o.picture, o.category, tuple(map(float, o.box)), o.ignore) for o in known.objects
    ]
    assert given.objects[1].where == "1 object 2" and given.findings == []


def test_gaps_of_huge_ids_cost_nothing(bounded):
    with bounded():
        (gap,) = _gaps([1, 3, 1 << 40])
    assert gap.detail.startswith("3 ids from 1 to 1099511627776, without 2, 4, 5, 6, 7, 8, 9, 10, …;")
    assert _gaps([1, 2, 3]) == [] and _gaps([]) == []
    with bounded():
        (gap,) = _gaps([2, 3, 1 << 63])
    assert gap.detail.startswith("3 ids from 2 to 9223372036854775808, without 1, 4, 5,")
