"""Which pictures of a set localization is about."""

import pytest

from detection.localization.one_class_pictures import OneClassPictures
from foundation.errors import UserError

BOX = (10.0, 10.0, 50.0, 50.0)
NOTHING: list = []
OBJECTS = [[(1, BOX)], [(1, BOX), (2, BOX)], NOTHING, [(2, BOX), (2, BOX)]]


def test_pictures_whose_objects_are_of_one_class(few):
    pictures = OneClassPictures(few(OBJECTS), "val", "one_class")
    assert (pictures.rows, pictures.image_labels) == ([0, 3], [1, 2])
    assert pictures.image_ids == ["picture0", "picture3"]
    assert pictures.image_path(1).name == "picture3.png"
    assert pictures.load_target(1).labels.tolist() == [2, 2]
    assert [len(target.boxes) for target in pictures.targets] == [1, 2]
    assert pictures.image_sizes == [(100, 140)] * 2


def test_pictures_with_a_single_object(few):
    pictures = OneClassPictures(few(OBJECTS), "val", "single_object")
    assert (pictures.rows, pictures.image_labels) == ([0], [1])


def test_pictures_once_for_each_of_their_classes(few):
    pictures = OneClassPictures(few(OBJECTS), "val", "each_class")
    assert (pictures.rows, pictures.image_labels) == ([0, 1, 1, 3], [1, 1, 2, 2])
    assert [target.labels.tolist() for target in pictures.targets] == [[1], [1], [2], [2, 2]]
    assert pictures.load_target(2).labels.tolist() == [2]


def test_the_classes_that_a_set_states_count(few):
    dataset = few(OBJECTS)
    dataset.image_labels, dataset.left_out = [2, 2, 1, 2], frozenset({1, 3})
    pictures = OneClassPictures(dataset, "val", "one_class")
    assert (pictures.rows, pictures.image_labels, pictures.left_out) == ([0, 1, 2, 3], [2, 2, 1, 2], {1, 3})
    single = OneClassPictures(dataset, "val", "single_object")
    assert (single.rows, single.left_out) == ([0], frozenset())


def test_without_truth_no_class_is_known(few):
    dataset = few([NOTHING, NOTHING])
    dataset.has_truth = False
    pictures = OneClassPictures(dataset, "test", "one_class")
    assert (len(pictures), pictures.image_labels, pictures.has_truth) == (2, [0, 0], False)


def test_a_set_without_such_pictures(few):
    with pytest.raises(
        UserError, match="val: none of the 1 pictures shows exactly one object, which data.pictures_of=single"
    ):
        OneClassPictures(few([OBJECTS[3]]), "val", "single_object")


def test_a_set_of_which_nothing_would_be_scored(few):
    dataset = few(OBJECTS)
    dataset.image_labels, dataset.left_out = [1] * len(OBJECTS), frozenset(range(len(OBJECTS)))
    with pytest.raises(UserError, match=f"val: all of its {len(OBJECTS)} pictures are on the blacklist"):
        OneClassPictures(dataset, "val", "one_class")


def test_the_fingerprint_tells_the_choice(few):
    prints = {
        OneClassPictures(few(OBJECTS), "val", kind).fingerprint() for kind in ("one_class", "single_object")
    }
    assert len(prints) == 2
