"""What a survey gives of its objects."""

from pathlib import Path

import numpy as np
import pytest

from doctor.survey import Survey, SurveyedObject, SurveyedPicture, clipped


@pytest.fixture
def survey() -> Survey:
    """An object in a picture of 4 x 6 (height x width), and one in a picture of unknown size."""
    pictures = [SurveyedPicture("a", Path("a.png"), (4, 6)), SurveyedPicture("b", Path("b.png"), None)]
    objects = [
        SurveyedObject("x", 0, 0, (-1, 1, 7, 3), False),
        SurveyedObject("y", 1, 0, (2, 2, 90, 80), True),
    ]
    return Survey("own", ["cat"], pictures=pictures, objects=objects)


def test_arrays(survey: Survey):
    assert survey.boxes().tolist() == [[-1, 1, 7, 3], [2, 2, 90, 80]]
    np.testing.assert_equal(survey.sizes(), [[4, 6], [np.nan, np.nan]])
    assert Survey("none", []).boxes().shape == (0, 4) and Survey("none", []).sizes().shape == (0, 2)


def test_boxes_are_cut_where_the_size_is_known(survey: Survey):
    assert clipped(survey.boxes(), survey.sizes()).tolist() == [[0, 1, 6, 3], [2, 2, 90, 80]]


def test_sets_of_the_same_role_are_not_apart(survey: Survey):
    other = Survey("other", [])
    assert survey.is_apart(other) and not survey.is_apart(survey)
    survey.role = other.role = "train"
    assert not survey.is_apart(other)
    other.role = "val"
    assert survey.is_apart(other)
