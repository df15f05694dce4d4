"""A classifier's scores find their pictures, and each guess the best box of its class."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from detection.localization.box_lists import pack_lists
from detection.localization.class_guesses import best_boxes, guessed_classes, wanted_classes
from detection.localization.one_class_pictures import OneClassPictures
from foundation.errors import UserError


class Scores(NamedTuple):
    ids: list[str]
    classes: list[str]
    log_probabilities: Tensor
    about: dict


def scores(ids: list[str], values: list[list[float]], classes: tuple[str, ...] = ("cat", "dog")) -> Scores:
    return Scores(ids, list(classes), torch.tensor(values), {})


def test_guesses_are_found_by_file_name(two_pictures: OneClassPictures):
    given = scores(["n01/picture1.JPEG", "val/other.png", "n02/picture0.png"], [[-1, -2], [0, 0], [-3, -2]])
    assert guessed_classes(given, two_pictures) == [[2, 1], [1, 2]]
    assert guessed_classes(given, two_pictures, most=1) == [[2], [1]]


def test_of_equal_scores_the_first_class_is_the_first_guess(two_pictures: OneClassPictures):
    given = scores(["a/picture0", "a/picture1"], [[-1, -1], [-1, -1]])
    assert guessed_classes(given, two_pictures) == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (scores(["a/picture0"], [[0, 0]]), "lack 1 picture of 2; score the classifier on this split"),
        (scores(["a/picture0", "b/picture0"], [[0, 0]] * 2), "two pictures 'picture0'"),
        (
            scores(["a/picture0"], [[0, 0]], ("cat", "cow")),
            "2 classes, the pictures of 2, the first that differ are 'cow' and 'dog'",
        ),
    ],
)
def test_scores_of_something_else(two_pictures: OneClassPictures, given: Scores, text: str):
    with pytest.raises(UserError, match=text):
        guessed_classes(given, two_pictures)


def test_the_own_class_is_looked_for_too(two_pictures: OneClassPictures):
    assert wanted_classes(two_pictures, None) == [[2], [1]]
    assert wanted_classes(two_pictures, [[1, 2], [2]]) == [[2, 1], [1, 2]]


def test_without_truth_only_guesses_are(two_pictures: OneClassPictures):
    two_pictures.image_labels = [0, 0]
    assert wanted_classes(two_pictures, [[1, 2], [2]]) == [[1, 2], [2]]


def test_the_best_box_of_each_guess(two_pictures: OneClassPictures):
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [1.0, 1.0, 5.0, 5.0]])
    found = [(0, 2, boxes, torch.tensor([0.9, 0.5])), (0, 1, boxes[1:], torch.tensor([0.25]))]
    lists = pack_lists(["picture0", "picture1"], two_pictures.classes, found, {})
    first, second = best_boxes(lists, two_pictures, [[1, 2], []])
    assert (first.image_id, first.labels.tolist()) == ("picture0", [1, 2])
    assert first.boxes.tolist() == [[1, 1, 5, 5], [0, 0, 9, 9]]  # in the order of the guesses, not of scores
    assert first.scores.tolist() == pytest.approx([0.25, 0.9])
    assert len(second.boxes) == 0
    with pytest.raises(UserError, match="picture picture1 has no box of class cat, which is guessed"):
        best_boxes(lists, two_pictures, [[1], [1]])
