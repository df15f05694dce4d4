"""Recall of proposals, by hand."""

import pytest
import torch

from detection.metrics.proposal_recall import proposal_recall
from detection.types import Prediction, Target


def picture(proposals: list, objects: list, ignore: list[bool]) -> tuple[Prediction, Target]:
    boxes, truth = (torch.tensor(values).reshape(-1, 4).float() for values in (proposals, objects))
    ones = torch.ones(len(boxes))
    labels = torch.ones(len(truth), dtype=torch.int64)
    ignored = torch.tensor(ignore, dtype=torch.bool)
    return Prediction(boxes, ones.long(), ones), Target(truth, labels, ignored, 1, (100, 100))


def test_by_hand():
    # IoU 1 and 60 / 100 with the first picture's objects, of which the third does not count; the second
    # picture's object is missed: above 0.5 two of three, of the ten thresholds 10 + 3 + 0 of 30 (.5 .55 .6).
    pictures = [
        picture(
            [[0, 0, 10, 10], [20, 0, 30, 6]], [[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]], [0, 0, 1]
        ),
        picture([], [[0, 0, 5, 5]], [0]),
    ]
    recall = proposal_recall(*zip(*pictures, strict=True))
    assert recall == {"recall50": pytest.approx(2 / 3), "average_recall": pytest.approx(13 / 30)}


def test_an_object_without_area_is_not_found():
    proposals, target = picture([[5, 5, 5, 5]], [[5, 5, 5, 5]], [False])
    assert proposal_recall([proposals], [target]) == {"recall50": 0, "average_recall": 0}


def test_nothing_to_find():
    proposals, target = picture([[0, 0, 1, 1]], [[0, 0, 5, 5]], [True])
    assert proposal_recall([proposals], [target]) == {"recall50": None, "average_recall": None}
