"""Positive pictures, blacklists and ground truth, worked by hand on the sets of conftest.py."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detection.data.annotations import Problem
from detection.imagenet.ilsvrc_lists import SplitLists, TrainSample, read_det_lists, read_loc_lists
from detection.imagenet.ilsvrc_places import IlsvrcPlaces
from detection.imagenet.synsets import read_synsets


def det_lists(root: Path, split: str, sample: TrainSample | None = None) -> SplitLists:
    places = IlsvrcPlaces(root, "DET")
    return read_det_lists(places, split, read_synsets(places.synsets, []), sample)


def loc_lists(root: Path, split: str) -> SplitLists:
    places = IlsvrcPlaces(root, "CLS-LOC")
    return read_loc_lists(places, split, sorted(read_synsets(places.synsets, [])))


def said(problems: list[Problem]) -> list[str]:
    return [str(problem.error("")) for problem in problems]


def test_train_is_the_positive_pictures_each_once(det: Path):
    assert det_lists(det, "train") == SplitLists(["a/1", "a/2", "a/3"])


def test_a_sample_of_each_class(det: Path, write: Callable):
    write(det, "ImageSets/DET/train_1.txt", "".join(f"b/{number} 1\n" for number in range(50)))
    drawn = [det_lists(det, "train", TrainSample(per_class=10, seed=seed)).image_ids for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 12 and drawn[0][-2:] == ["a/2", "a/3"]  # the second class has only two
    numbers = [int(name[2:]) for name in drawn[0][:10]]
    assert numbers == sorted(set(numbers)) and set(numbers) <= set(range(50))


def test_the_blacklist_counts_by_val(det: Path):
    # 3 is v3, class n01 of number 2; 2 is v2, which is not in val1.
    assert det_lists(det, "val").void == {"v3": {2}, "v2": {1}}
    assert det_lists(det, "val1").void == {"v3": {2}}
    assert det_lists(det, "val1").image_ids == ["v3", "v1"]
    assert det_lists(det, "test") == SplitLists(["t1"])


def test_faults_of_det(det: Path, write: Callable):
    write(det, "ImageSets/DET/train_2.txt", "a/1 2\na/2\n")
    assert [text.partition("DET/")[2] for text in said(det_lists(det, "train").problems)] == [
        "train_2.txt, line 1: 'a/1 2' is not a picture and 1, 0 or -1; correct the line",
        "train_2.txt, line 2: 'a/2' is not a picture and 1, 0 or -1; correct the line",
    ]
    (det / "ImageSets/DET/train_2.txt").unlink()
    assert "train_2.txt: no such file" in said(det_lists(det, "train").problems)[0]
    write(det, "devkit/data/ILSVRC2015_det_validation_blacklist.txt", "4 n01\n1 n09\nx n01\n")
    problems = det_lists(det, "val").problems
    checks = ["unknown_image", "unknown_category", "unknown_image"]
    assert [problem.check for problem in problems] == checks
    assert "line 1: '4' is the number of no picture in" in said(problems)[0]
    write(det, "ImageSets/DET/val.txt", "v1 1\nv2 1\nv3 3\n")
    assert "val.txt, line 2: 'v2 1': expected a number for each picture, each once" in "".join(
        said(det_lists(det, "val1").problems)
    )


def test_labels_of_cls_loc_follow_the_wordnet_ids(loc: Path):
    # n01 is label 1, though the devkit's number 2.
    assert loc_lists(loc, "train") == SplitLists(["n02/n02_1", "n01/n01_1"], {"n02/n02_1": 2, "n01/n01_1": 1})
    # Ground truth 1, 2, 1 is of v1, v2, v3 in the order of the names; the list has another.
    lists = loc_lists(loc, "val")
    assert lists.image_ids == ["v2", "v1", "v3"]
    assert lists.labels == {"v1": 2, "v2": 1, "v3": 2} and lists.left_out == {"v2"}
    assert loc_lists(loc, "test") == SplitLists(["t1"])


@pytest.mark.parametrize(
    ("file", "text", "check", "fault"),
    [
        ("ground_truth", "1\n2\n", "malformed_entry", "2 lines for the 3 pictures of"),
        ("ground_truth", "1\n2\n9\n", "unknown_category", "line 3: '9' is the number of no class"),
        ("blacklist", "4\n", "unknown_image", "'4' is the number of no picture of val, of which there are 3"),
        ("blacklist", "0\n", "unknown_image", "line 1: '0' is the number of no picture"),
    ],
)
def test_faults_of_cls_loc(loc: Path, write: Callable, file: str, text: str, check: str, fault: str):
    write(loc, f"devkit/data/ILSVRC2015_clsloc_validation_{file}.txt", text)
    (problem,) = loc_lists(loc, "val").problems
    assert problem.check == check and fault in str(problem.error(""))


def test_a_folder_of_no_class(loc: Path, write: Callable):
    write(loc, "ImageSets/CLS-LOC/train_loc.txt", "n09/n09_1 1\nn09/n09_2 2\n")
    (problem,) = loc_lists(loc, "train").problems
    assert problem.check == "unknown_category" and "train_loc.txt: 'n09' is not in" in str(problem.error(""))
