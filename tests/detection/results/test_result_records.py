"""Predictions and targets as COCO's records, and back."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from detection.data.coco_dataset import CocoDataset
from detection.metrics import coco_ap, voc_ap
from detection.results.pasted_masks import decode_mask
from detection.results.result_records import from_coco_records, to_coco_annotations, to_coco_records
from detection.types import Prediction
from foundation.errors import UserError


@pytest.fixture
def dataset(write_coco: Callable[..., Path]) -> CocoDataset:
    path = write_coco()
    return CocoDataset(path, path.parent)


def test_records_come_back_as_they_were(dataset: CocoDataset):
    rng = np.random.default_rng(0)
    predictions = []
    for index, image_id in enumerate(dataset.image_ids):
        boxes = torch.from_numpy(np.sort(rng.uniform(0, 400, (index, 2, 2)), axis=1).reshape(-1, 4)).float()
        labels = torch.from_numpy(rng.integers(1, 3, index))
        predictions.append(Prediction(boxes, labels, torch.from_numpy(rng.random(index)).float(), image_id))
    records = json.loads(json.dumps(to_coco_records(predictions, dataset)))
    back = from_coco_records(records, dataset)
    assert len(back) == len(predictions)
    for one, other in zip(predictions, back, strict=True):
        assert one.image_id == other.image_id
        assert torch.equal(one.boxes, other.boxes.float())
        assert torch.equal(one.labels, other.labels) and torch.equal(one.scores, other.scores.float())


def test_from_records_refuses_what_evaluate_refuses(dataset: CocoDataset):
    with pytest.raises(UserError, match="my.json: record 0: category_id 9 is not in the annotation file"):
        record = {"image_id": 10, "category_id": 9, "bbox": [0, 0, 1, 1], "score": 1}
        from_coco_records([record], dataset, "my.json")


def test_targets_as_annotations_have_the_same_perfect_score(dataset: CocoDataset):
    annotations = to_coco_annotations(dataset.targets, dataset.classes, dataset.category_ids)
    predictions = [
        Prediction(t.boxes, t.labels, torch.full((len(t.labels),), 0.5), t.image_id) for t in dataset.targets
    ]
    scores = coco_ap.evaluate(annotations, to_coco_records(predictions, dataset))
    assert torch.equal(predictions[1].boxes, dataset.targets[1].boxes)  # nothing was changed in place
    assert dataset.targets[1].boxes.tolist() == [[1, 0, 4, 2], [4, 1, 6, 4]]
    np.testing.assert_allclose(scores.class_ap, 1)
    np.testing.assert_allclose(voc_ap.evaluate(predictions, dataset.targets, 2).ap, 1)


def as_records(dataset: CocoDataset, **first: object) -> list[dict]:
    """Two records of the first picture with masks: a polygon's and a run-length's."""
    common = {"image_id": dataset.image_ids[1], "category_id": 1, "bbox": [0, 0, 2, 2], "score": 0.5}
    masks = [[[0, 0, 2, 0, 2, 2, 0, 2]], {"size": [4, 6], "counts": [8, 4, 12]}]
    records = [{**common, "segmentation": mask} for mask in masks]
    records[0] |= first
    return records


def test_masks_come_back_as_run_lengths(dataset: CocoDataset):
    found = from_coco_records(as_records(dataset), dataset)
    assert [None if p.masks is None else len(p.masks) for p in found] == [0, 2, 0]
    assert found[1].masks is not None
    decoded = [np.argwhere(decode_mask(mask)).tolist() for mask in found[1].masks]
    assert decoded == [[[0, 0], [0, 1], [1, 0], [1, 1]], [[0, 2], [1, 2], [2, 2], [3, 2]]]
    records = json.loads(json.dumps(to_coco_records(found, dataset)))
    again = from_coco_records(records, dataset)
    assert [record["segmentation"] for record in records] == found[1].masks == again[1].masks


def test_some_records_without_masks_and_damaged_masks_are_refused(dataset: CocoDataset):
    records = as_records(dataset)
    del records[1]["segmentation"]
    with pytest.raises(UserError, match="my.json: record 1: segmentation is missing or malformed"):
        from_coco_records(records, dataset, "my.json")
    damaged = as_records(dataset, segmentation={"size": [4, 6], "counts": "84"})
    with pytest.raises(UserError, match="predictions: record 0: the counts '84' .* are damaged"):
        from_coco_records(damaged, dataset)
