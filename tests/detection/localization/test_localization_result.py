"""The errors of a search, worked by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detection.localization.box_lists import pack_lists
from detection.localization.localization_result import (
    JudgedPictures,
    describe_localization,
    judge_pictures,
    load_judged_pictures,
    localization_result,
)
from detection.localization.one_class_pictures import OneClassPictures
from foundation.errors import UserError


@pytest.fixture
def lists(two_pictures: OneClassPictures):
    """The dog's box is right; the cat's is between the cats, and a dog is seen where a cat is."""
    found = [
        (0, 1, torch.tensor([[0.0, 0.0, 140.0, 100.0]]), torch.tensor([0.1])),
        (0, 2, torch.tensor([[0.0, 10.0, 60.0, 80.0]]), torch.tensor([0.9])),
        (1, 1, torch.tensor([[50.0, 0.0, 80.0, 100.0]]), torch.tensor([0.8])),
        (1, 2, torch.tensor([[20.0, 20.0, 50.0, 80.0]]), torch.tensor([0.7])),
    ]
    return pack_lists(["picture0", "picture1"], two_pictures.classes, found, {})


def test_the_errors_with_the_true_class(two_pictures: OneClassPictures, lists):
    result = localization_result(judge_pictures(lists, two_pictures, None))
    # The dog's IoU is 7/8. The whole picture overlaps the dog by 4800/14000, the larger cat by 2750/14000.
    assert result["scores"] == {"oracle_error": 0.5, "whole_picture_error": 1.0}
    assert result["pictures"] == 2 and "intervals" not in result


def test_the_errors_of_guesses(two_pictures: OneClassPictures, lists):
    result = localization_result(judge_pictures(lists, two_pictures, [[1, 2], [2, 1]]))
    # First guesses are all wrong. Of five, both classes are found, and the dog's box is right.
    assert result["scores"] == {
        "oracle_error": 0.5,
        "whole_picture_error": 1.0,
        "top1_error": 1.0,
        "classification_top1_error": 1.0,
        "top5_error": 0.5,
        "classification_top5_error": 0.0,
    }


def test_pictures_that_are_left_out(two_pictures: OneClassPictures, lists):
    two_pictures.left_out = frozenset({1})
    judged = judge_pictures(lists, two_pictures, None)
    assert (judged.ids, judged.labels, judged.wrong["oracle_error"].tolist()) == (["picture0"], [2], [False])
    result = localization_result(judged)
    assert result["scores"]["oracle_error"] == 0 and result["pictures"] == 1


def test_intervals_and_the_table(two_pictures: OneClassPictures, lists):
    result = localization_result(judge_pictures(lists, two_pictures, None), resamples=200)
    assert result["intervals"]["oracle_error"] == [0, 1]  # of two pictures nothing can be said
    assert describe_localization(result).splitlines() == [
        "localization error in % of 2 pictures",
        "  error with the true class           50.00  (0.00 to 100.00)",
        "  that of the whole picture's box    100.00  (100.00 to 100.00)",
    ]


def test_a_file_says_which_pictures_are_wrong(two_pictures: OneClassPictures, lists, tmp_path: Path):
    judged = judge_pictures(lists, two_pictures, [[1, 2], [2, 1]])
    judged.save(tmp_path / "per_picture.npz")
    read = load_judged_pictures(tmp_path / "per_picture.npz")
    assert (read.ids, read.classes, read.labels) == (["picture0", "picture1"], ["cat", "dog"], [2, 1])
    assert read.fingerprint == two_pictures.fingerprint() and read.scores == judged.scores
    assert read.wrong.keys() == judged.wrong.keys()
    assert read.wrong["oracle_error"].tolist() == [False, True]  # the cat's box is between the cats


@pytest.mark.parametrize(
    ("name", "value"),
    [("ids", ["a"]), ("labels", [1]), ("wrong", [[True]]), ("errors", ["a", "b"]), ("ids", [])],
)
def test_lists_of_other_pictures_are_refused(tmp_path: Path, name: str, value: list):
    file = tmp_path / "per_picture.npz"
    JudgedPictures(["a", "b"], ["cat"], [1, 1], "", {"oracle_error": np.array([True, False])}).save(file)
    with np.load(file) as archive:
        arrays = dict(archive)
    np.savez(file, **(arrays | {name: np.array(value, dtype=arrays[name].dtype)}))
    with pytest.raises(UserError, match="npz: its arrays do not fit together; .* score the boxes again"):
        load_judged_pictures(file)
