"""Result records that would count as something else than they say are refused by their number."""

from typing import Any

import pytest

from detection.metrics.record_checks import check_record_masks, check_records
from foundation.errors import UserError

RECORD = {"image_id": 10, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


def test_columns_of_records():
    columns = check_records([RECORD, {**RECORD, "score": 1}], [10], [1, 18], "a.json")
    assert (columns.image_ids, columns.category_ids) == ([10, 10], [1, 1])
    assert columns.scores.tolist() == [0.5, 1.0] and columns.boxes.tolist() == [[1, 2, 3, 4]] * 2
    assert check_records([], [10], [1], "a.json").boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"annotations": []}, "a.json: expected a list of result records with bbox, category_id, image_id"),
        ([RECORD, 3], "a.json: record 1 is 3, expected the fields bbox, category_id, image_id, score"),
        ([{**RECORD, "image_id": 11}], "a.json: record 0: image_id 11 is not in the annotation file"),
        ([{**RECORD, "category_id": 2}], "a.json: record 0: category_id 2 is not in the annotation file"),
        ([RECORD, {**RECORD, "score": "1"}], "a.json: record 1: score is '1', expected a finite number"),
        ([{**RECORD, "score": float("nan")}], "a.json: record 0: score is nan, expected a finite number"),
        ([{**RECORD, "bbox": [0, 0, -1, 1]}], "a.json: record 0"),
        ([{**RECORD, "image_id": True}], "a.json: record 0: image_id True is not in the annotation file"),
        ([RECORD, {**RECORD, "category_id": True}], "a.json: record 1: category_id True is not in"),
        ([{**RECORD, "score": True}], "a.json: record 0: score is True, expected a finite number"),
        ([{**RECORD, "score": 10**400}], "a.json: record 0: score is 1000"),
        ([{**RECORD, "bbox": [True, 0, 1, 1]}], "a.json: record 0: bbox is [True, 0, 1, 1], expected"),
    ],
)
def test_a_wrong_record_is_named(records: Any, message: str):
    with pytest.raises(UserError) as refused:
        check_records(records, [10], [1, 18], "a.json")
    assert message in str(refused.value)


def test_records_of_masks_alone_need_no_box():
    mask = {"size": [4, 6], "counts": [8, 4, 12]}
    bare = {"image_id": 10, "category_id": 1, "score": 0.5, "segmentation": mask}
    assert check_records([bare], [10], [1], "a.json", "segmentation").boxes.shape == (0, 4)
    check_record_masks([bare], {10: (4, 6)}, "a.json")
    with pytest.raises(UserError, match="a.json: record 0"):
        check_record_masks([bare], {10: (4, 7)}, "a.json")
