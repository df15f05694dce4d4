"""Curves, kinds of errors and confusions of a few boxes worked out by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from detection.metrics.conventions import VOC12, class_matches, match_pictures
from detection.results.error_analysis import (
    curve_table,
    describe_errors,
    find_errors,
)
from detection.results.result_records import to_coco_annotations, to_coco_records
from detection.types import Prediction, Target

CLASSES = ["ape", "bee", "cow"]


def target(boxes: list, labels: list[int], name: str = "a") -> Target:
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    ignore = torch.zeros(len(boxes), dtype=torch.bool)
    return Target(tensor, torch.tensor(labels, dtype=torch.int64), ignore, name, (100, 100))


def prediction(boxes: list, labels: list[int], scores: list[float], name: str = "a") -> Prediction:
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Prediction(tensor, torch.tensor(labels, dtype=torch.int64), torch.tensor(scores), name)


# An ape found, and once more; a bee named ape; a badly fitting box; nothing there; an ape and a bee missed.
TRUTH = target([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [80, 80, 90, 90]], [1, 2, 1, 2])
FOUND = prediction(
    [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [43, 3, 53, 13], [60, 60, 70, 70]],
    [1, 1, 1, 1, 1],
    [0.95, 0.9, 0.8, 0.7, 0.6],
)


def errors(found: Prediction, truth: Target, **options: Any) -> dict[str, Any]:
    annotations = to_coco_annotations([truth], CLASSES, [1, 5, 9])
    dataset: Any = SimpleNamespace(category_ids=[1, 5, 9])
    return find_errors(annotations, to_coco_records([found], dataset), **options)


def test_each_kind_of_error_once():
    found = errors(FOUND, TRUTH)
    counts = {name: error["count"] for name, error in found["errors"].items()}
    assert counts == {"Cls": 1, "Loc": 1, "Both": 0, "Dupe": 1, "Bkg": 1, "Miss": 1}
    assert all(0 <= error["AP lost"] <= 1 for error in found["errors"].values())
    lines = describe_errors(found).splitlines()
    assert len(lines) == 8 and lines[-1].endswith("from a score of 0.5: bee taken for ape 1")
    lost = [float(line.split()[2]) for line in lines[1:7]]
    assert lost == sorted(lost, reverse=True) and lost[0] > 0


def test_confusions():
    found = errors(FOUND, TRUTH)
    # Rows truth, columns predictions, the background last.
    assert found["confusion"] == [[1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0], [3, 0, 0, 0]]
    surest = errors(FOUND, TRUTH, least_score=0.85)["confusion"]
    assert surest == [[1, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("empty", ["found", "truth", "both"])
def test_nothing_found_and_nothing_to_find(empty: str):
    found = FOUND if empty == "truth" else prediction([], [], [])
    truth = TRUTH if empty == "found" else target([], [])
    result = errors(found, truth)
    assert result["errors"]["Miss"]["count"] == (4 if empty == "found" else 0)
    assert describe_errors(result).endswith("none")


def test_curves_of_classes_that_have_objects():
    matches = class_matches(match_pictures([FOUND], [TRUTH], 3, VOC12))
    table = curve_table(matches, VOC12, CLASSES)
    assert table["ape"]["recall"] == [0.5] * 5
    assert table["ape"]["precision"] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert table["ape"]["scores"] == pytest.approx([0.95, 0.9, 0.8, 0.7, 0.6])
    assert table["ape"]["AP"] == 1 / 2
    assert table["bee"] == {"recall": [], "precision": [], "scores": [], "AP": 0} and "cow" not in table
