import json

import numpy as np
import pytest
import torch

from foundation.errors import UserError
from segmentation.metrics.confusion_matrix import (
    ConfusionMatrix,
    count_pairs,
    count_pixels,
    count_runs,
)
from segmentation.types import IGNORED


def matrix_of(prediction: list, labels: list, num_classes: int) -> list:
    both = (torch.tensor(values, dtype=torch.uint8) for values in (prediction, labels))
    return count_pixels(*both, num_classes).tolist()


def random_maps(seed: int, size: tuple[int, ...] = (37, 53)) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions int64 and labels uint8 of five classes in patches, a tenth of them ignored."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.integers(0, 5, size), 3, axis=-1).astype(np.uint8)
    prediction = np.where(rng.random(labels.shape) < 0.7, labels, rng.integers(0, 5, labels.shape))
    labels[rng.random(labels.shape) < 0.1] = IGNORED
    return torch.from_numpy(prediction.astype(np.int64)), torch.from_numpy(labels)


def test_worked_by_hand():
    # Truth    0 0 1    Predicted 0 1 1    Row 0: one as 0, one as 1. Row 1: two as 1; the ignored one is
    #          1 _ 2              1 0 0    nowhere. Row 2: its only pixel as 0. Class 3 does not occur.
    found = matrix_of([[0, 1, 1], [1, 0, 0]], [[0, 0, 1], [1, IGNORED, 2]], 4)
    assert found == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("labels", [[], [[IGNORED, IGNORED]]])
def test_nothing_counted(labels: list):
    assert matrix_of(labels, labels, 2) == [[0, 0], [0, 0]]


def test_what_is_predicted_on_ignored_pixels_is_free():
    assert matrix_of([[IGNORED, 1]], [[IGNORED, 1]], 2) == [[0, 0], [0, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_runs_and_pairs_are_pixels_counted_one_by_one(seed: int):
    prediction, labels = random_maps(seed)
    expected = np.zeros((5, 5), dtype=np.int64)
    for predicted, true in zip(prediction.flatten().tolist(), labels.flatten().tolist(), strict=True):
        if true != IGNORED:
            expected[true, predicted] += 1
    flat = prediction.flatten(), labels.flatten()
    assert (count_runs(*(values.numpy() for values in flat), 5) == expected.flatten()).all()
    assert (count_pairs(*flat, 5).numpy() == expected.flatten()).all()


@pytest.mark.parametrize(
    ("prediction", "labels", "message"),
    [
        ([0, 1], [0, 2], r"the truth holds the class 2, expected 0 to 1 or 255 \(ignored\)"),
        ([0, 255], [0, 0], "a prediction holds the class 255, expected 0 to 1: label maps hold the index"),
        ([0, -1], [0, 0], "a prediction holds the class -1"),
    ],
)
@pytest.mark.parametrize("count", [count_runs, count_pairs])
def test_unknown_classes(count, prediction: list, labels: list, message: str):
    kind = torch.tensor if count is count_pairs else np.array
    with pytest.raises(UserError, match=message):
        count(kind(prediction), kind(labels), 2)


def test_maps_that_do_not_fit():
    with pytest.raises(ValueError, match=r"predictions are \(2,\), but labels \(3,\)"):
        count_pixels(torch.zeros(2).long(), torch.zeros(3).long(), 2)
    with pytest.raises(ValueError, match="whole numbers, got torch.float32"):
        count_pixels(torch.zeros(2), torch.zeros(2).long(), 2)


def test_a_stream_is_the_sum_of_its_pictures():
    stream = ConfusionMatrix(5)
    maps = [random_maps(seed, (4 + seed, 6)) for seed in range(3)]
    for prediction, labels in maps:
        stream.add(prediction, labels)
    whole = [torch.cat([part.flatten() for part in parts]) for parts in zip(*maps, strict=True)]
    matrix = stream.merged()
    assert matrix.dtype == np.int64
    assert (matrix == count_pixels(*whole, 5).numpy()).all()
    pictures = stream.merged_pictures()
    assert pictures.hits.shape == (3, 5)
    assert (pictures.total().hits[0] == matrix.diagonal()).all()
    assert (pictures.total().truth[0] == matrix.sum(axis=1)).all()
    assert (pictures.total().predicted[0] == matrix.sum(axis=0)).all()
    first = count_pixels(*maps[0], 5).numpy()
    assert (pictures.truth[0] == first.sum(axis=1)).all()


def test_no_picture():
    stream = ConfusionMatrix(2)
    assert stream.merged().tolist() == [[0, 0], [0, 0]]
    assert stream.merged_pictures().hits.shape == (0, 2)


SHARES = """
import json, torch
from segmentation.metrics.confusion_matrix import ConfusionMatrix
from training.devices import process_group, rank, world_size
from training.loader import evaluation_shard
from tests.segmentation.metrics.test_confusion_matrix import random_maps
stream = ConfusionMatrix(5)
with process_group(torch.device("cpu")):
    for index in evaluation_shard(7, rank(), world_size()):
        stream.add(*random_maps(index))
    print(json.dumps([stream.merged().tolist(), [part.tolist() for part in stream.merged_pictures()]]))
"""


def test_processes_together_count_what_one_does(in_processes):
    stream = ConfusionMatrix(5)
    for index in range(7):
        stream.add(*random_maps(index))
    expected = [stream.merged().tolist(), [part.tolist() for part in stream.merged_pictures()]]
    assert in_processes(SHARES, count=3) == [json.loads(json.dumps(expected))] * 3
