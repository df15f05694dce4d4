"""The errors of a search, worked by hand."""

import pytest
import torch

from detection.localization.box_lists import pack_lists
from detection.localization.localization_result import describe_localization, localization_result
from detection.localization.one_class_pictures import OneClassPictures


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
    result = localization_result(lists, two_pictures, None)
    # The dog's IoU is 7/8. The whole picture overlaps the dog by 4800/14000, the larger cat by 2750/14000.
    assert result["scores"] == {"oracle_error": 0.5, "whole_picture_error": 1.0}
    assert result["pictures"] == 2 and "intervals" not in result


def test_the_errors_of_guesses(two_pictures: OneClassPictures, lists):
    result = localization_result(lists, two_pictures, [[1, 2], [2, 1]])
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
    result = localization_result(lists, two_pictures, None)
    assert result["scores"]["oracle_error"] == 0 and result["pictures"] == 1


def test_intervals_and_the_table(two_pictures: OneClassPictures, lists):
    result = localization_result(lists, two_pictures, None, resamples=200)
    assert result["intervals"]["oracle_error"] == [0, 1]  # of two pictures nothing can be said
    assert describe_localization(result).splitlines() == [
        "localization error in % of 2 pictures",
        "  error with the true class           50.00  (0.00 to 100.00)",
        "  that of the whole picture's box    100.00  (100.00 to 100.00)",
    ]
