"""What a split says of its pictures and their annotations."""

from collections.abc import Callable
from pathlib import Path

from detection.imagenet.ilsvrc_places import IlsvrcPlaces
from detection.imagenet.ilsvrc_split import IlsvrcSplit


def test_classes_of_both_tasks(det: Path, loc: Path):
    one, other = (
        IlsvrcSplit(IlsvrcPlaces(det, "DET"), "val"),
        IlsvrcSplit(IlsvrcPlaces(loc, "CLS-LOC"), "val"),
    )
    assert (one.classes(), one.category_ids(), one.names()) == (["cat", "dog house"], [1, 2], ["n02", "n01"])
    assert (other.classes(), other.category_ids()) == (["n01", "n02"], [2, 1])
    assert (str(one), one.kind, str(other), other.kind) == (
        *("DET:val", "imagenet_det"),
        *("CLS-LOC:val", "imagenet_loc"),
    )
    assert one.problems() == other.problems() == []


def test_boxes_count_from_0_and_blacklisted_classes_are_ignored(det: Path):
    split = IlsvrcSplit(IlsvrcPlaces(det, "DET"), "val1")
    size, objects, problems = split.read("v3", split.names())
    assert (size, problems) == ((4, 6), [])
    # (0, 0, 2, 2) covers pixels 0 to 2: it ends at edge 3.
    assert [found.box for found in objects] == [(0, 0, 3, 3), (1, 1, 6, 4)]
    assert [(found.label, found.difficult) for found in objects] == [(2, True), (1, False)]


def test_only_dets_training_pictures_may_lack_an_annotation(det: Path):
    training, val = (IlsvrcSplit(IlsvrcPlaces(det, "DET"), name) for name in ("train", "val"))
    assert training.read("a/4", training.names()) == ((4, 6), [], [])
    val.annotation_file("v2").unlink()
    (problem,) = val.read("v2", val.names()).problems
    assert problem.text == "missing, though ImageSets/DET lists v2; restore it"
    (problem,) = training.read("a/5", training.names()).problems  # there is no such picture either
    assert problem.text.startswith("missing, though")


def test_objects_of_another_class_than_the_picture(loc: Path, add: Callable):
    add(loc, "CLS-LOC/val", "v1", [("n02", (0, 0, 2, 2)), ("n01", (0, 0, 2, 2)), ("n77", (0, 0, 2, 2))])
    split = IlsvrcSplit(IlsvrcPlaces(loc, "CLS-LOC"), "val")
    unknown, other = split.read("v1", split.names()).problems
    assert (other.check, other.where) == ("other_class", "object 2")
    assert other.text.startswith("is n01, but the picture is of class n02")
    assert (
        unknown.text == "'n77' is not among the classes (WordNet ids, which devkit/data/map_clsloc.txt lists)"
    )


def test_without_classes_nothing_follows(loc: Path):
    (loc / "devkit/data/map_clsloc.txt").unlink()
    split = IlsvrcSplit(IlsvrcPlaces(loc, "CLS-LOC"), "val")
    (problem,) = split.problems()
    assert "map_clsloc.txt: no such file" in str(problem.error(""))
    assert split.image_ids() == ["v2", "v1", "v3"]
