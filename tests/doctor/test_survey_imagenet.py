"""Every fault of a split of ImageNet becomes its own finding, and the doctor goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detection.data.dataset_splits import DataConfig, open_dataset
from detection.imagenet import ilsvrc_shapes
from doctor.findings import Finding
from foundation.errors import UserError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few generated pictures of both tasks."""
    monkeypatch.setattr(ilsvrc_shapes, "DET_SPLITS", {"train": 20, "val": 10, "test": 2})
    monkeypatch.setattr(ilsvrc_shapes, "LOC_SPLITS", {"train": 10, "val": 20, "test": 2})
    return ilsvrc_shapes.ensure_ilsvrc(tmp_path)


def errors(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(f.check, f"{f.where}: {f.detail}") for f in findings if f.severity == "error"]


@pytest.mark.parametrize("split", ["imagenet_det:{}:train", "imagenet_det:{}:val1", "imagenet_loc:{}:val"])
def test_whole_splits_have_no_errors(root: Path, diagnosis: Callable, split: str):
    findings = diagnosis(split.format(root), quick=True)
    assert errors(findings) == []
    assert {f.check for f in findings if f.severity == "warning"} <= {"rare_category", "near_leak"}


def test_the_default_splits_of_a_root(root: Path, diagnosis: Callable):
    assert errors(diagnosis(f"imagenet_det:{root}", quick=True)) == []
    with pytest.raises(UserError, match="has no split 'vall'; did you mean 'val'"):
        diagnosis(f"imagenet_det:{root}:vall")


def lose(root: Path, name: str) -> None:
    (root / name).unlink()


def change(root: Path, name: str, before: str, after: str) -> None:
    text = (root / name).read_text()
    assert before in text
    (root / name).write_text(text.replace(before, after, 1))


DEVKIT, XML = "devkit/data", "Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml"
TRUTH = f"{DEVKIT}/ILSVRC2015_clsloc_validation_ground_truth.txt"
DET_BLACKLIST = f"{DEVKIT}/ILSVRC2015_det_validation_blacklist.txt"
LOC_BLACKLIST = f"{DEVKIT}/ILSVRC2015_clsloc_validation_blacklist.txt"
MAP = f"{DEVKIT}/map_clsloc.txt"
# Task and split, what is done, the check, a part of what is said.
FAULTS = {
    "no classes": ("loc:val", (lose, MAP), "malformed_entry", "map_clsloc.txt: no such file"),
    "no truth": ("loc:val", (lose, TRUTH), "malformed_entry", "ground_truth.txt: no such file"),
    "no blacklist": ("det:val2", (lose, DET_BLACKLIST), "malformed_entry", "blacklist.txt: no such file"),
    "number twice": ("loc:val", (change, MAP, " 2 ", " 1 "), "duplicate_category_id", "number 1 is already"),
    "unknown synset": ("loc:val", (change, XML, "n90000000", "n12345678"), "unknown_category", "'n12345678'"),
    "another class": ("loc:val", (change, XML, "n90000000", "n93000000"), "other_class", "is n93000000, but"),
    "absent XML": ("loc:val", (lose, XML), "malformed_entry", "missing, though ImageSets/CLS-LOC lists"),
    "absent picture": (
        *("det:val", (lose, "Data/DET/val/ILSVRC2012_val_00000021.JPEG")),
        *("missing_picture", "ILSVRC2012_val_00000021"),
    ),
    "blacklisted beyond": (
        "loc:val",
        (change, LOC_BLACKLIST, "17", "21"),
        "unknown_image",
        "'21' is the number",
    ),
    "line of a list": (
        *("det:train", (change, "ImageSets/DET/train_3.txt", " -1", " yes")),
        *("malformed_entry", "is not a picture and 1, 0 or -1"),
    ),
}


@pytest.mark.parametrize(("place", "fault", "check", "text"), FAULTS.values(), ids=FAULTS)
def test_what_the_loader_refuses_is_an_error(
    root: Path, diagnosis: Callable, place: str, fault: tuple, check: str, text: str
):
    task, _, split = place.partition(":")
    harm, *given = fault
    harm(root, *given)
    found = errors(diagnosis(f"imagenet_{task}:{root}:{split}"))
    assert any(name == check and text in said for name, said in found), found
    with pytest.raises(UserError):
        open_dataset(DataConfig(kind=f"imagenet_{task}", root=str(root)), split)


def test_all_faults_are_listed(root: Path, diagnosis: Callable):
    change(root, XML, "n90000000", "n93000000")
    lose(root, XML.replace("01.xml", "02.xml"))
    change(root, TRUTH, "4\n", "44\n")
    checks = [check for check, _ in errors(diagnosis(f"imagenet_loc:{root}:val", quick=True))]
    assert sorted(checks) == ["malformed_entry", "other_class", "unknown_category"]


def test_a_picture_listed_twice_and_blacklisted_objects(root: Path, diagnosis: Callable):
    change(root, "ImageSets/DET/val1.txt", "ILSVRC2012_val_00000023", "ILSVRC2012_val_00000021")
    found = diagnosis(f"imagenet_det:{root}:val1", quick=True)
    assert [f.where for f in found if f.check == "duplicate_image_id"] == ["ILSVRC2012_val_00000021"]
    assert any(f.check == "difficult" and "ILSVRC2012_val_00000021.xml" in f.where for f in found)
