"""What is asked for beside a score: refused before the work where it cannot be done, and told to people."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from detection.metrics.bootstrap import Interval
from detection.results import metrics_by_name
from detection.results.detection_report import (
    EvaluatedSplit,
    ReportOptions,
    describe_all,
    describe_conventions,
    describe_interval,
    write_reports,
)
from detection.results.metrics_by_name import Metric
from detection.types import Prediction, Target
from foundation.errors import UserError


class _OnePicture(SimpleNamespace):
    def __len__(self) -> int:
        return 1


@pytest.fixture
def split() -> EvaluatedSplit:
    """One picture with one ape."""
    target = Target(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([1]), torch.tensor([False]), 7, (20, 20))
    dataset: Any = _OnePicture(classes=["ape"], category_ids=[1], image_ids=[7], targets=[target])
    return EvaluatedSplit(dataset, "coco", "val", "voc12")


NONE = torch.zeros(0, dtype=torch.int64)
RECORDS = [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.9}]
FOUND = [Prediction(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([1]), torch.tensor([0.9]), 7)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"report": True}, "--report writes files: say where with --out DIR"),
        ({"worst": -1}, "--worst must be 0 or more pictures, got -1"),
        ({"operating_point": "f1"}, "--operating-point writes operating_point.json: say where"),
        ({"operating_point": "precision=1.5"}, "precision must be above 0 and at most 1"),
        ({"bootstrap": 0}, "--bootstrap must be 1 or more resamples, got 0"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(options: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        ReportOptions(**options).check(None)


def test_what_needs_the_truth(tmp_path: Path):
    assert not ReportOptions().anything
    sent = ReportOptions(submission=tmp_path)
    assert sent.anything and not sent.needs_truth
    sent.check_without_truth("test", None)
    with pytest.raises(UserError, match="test has no annotations to compare with: leave out --explain"):
        ReportOptions(explain=True, submission=tmp_path).check_without_truth("test", None)
    with pytest.raises(UserError, match="test has no annotations, so nothing can be scored"):
        ReportOptions().check_without_truth("test", None)


def test_an_interval_of_one_picture_is_its_figure(split: EvaluatedSplit):
    result = write_reports(ReportOptions(bootstrap=3), FOUND, RECORDS, split, None)
    assert [result["interval"][name] for name in ("figure", "low", "high")] == [1, 1, 1] and len(result) == 1


def test_an_operating_point(split: EvaluatedSplit, tmp_path: Path):
    result = write_reports(ReportOptions(operating_point="precision=1"), FOUND, RECORDS, split, tmp_path)
    assert json.loads((tmp_path / "operating_point.json").read_text()) == result["operating_point"]
    (entry,) = result["operating_point"]["classes"]
    assert entry["threshold"] == pytest.approx(0.9) and entry["reached"] and entry["detections"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["operating_point.json"]
    assert describe_all(result).startswith("Operating point precision=1 at IoU 0.5")
    with pytest.raises(UserError, match="none of 0 detections finds one of 1 objects"):
        write_reports(ReportOptions(operating_point="f1"), [FOUND[0].of_rows(NONE)], [], split, tmp_path)


def test_a_metric_without_conventions_has_no_interval(split: EvaluatedSplit, monkeypatch: pytest.MonkeyPatch):
    counted = Metric(lambda found, dataset: ({"count": 1.0}, {}), main="count")
    monkeypatch.setitem(metrics_by_name.METRICS, "voc12", counted)
    with pytest.raises(UserError, match="--bootstrap knows no interval of the metric voc12"):
        write_reports(ReportOptions(bootstrap=3), FOUND, RECORDS, split, None)


def test_conventions_for_people(split: EvaluatedSplit):
    rows = write_reports(ReportOptions(explain=True), FOUND, RECORDS, split, None)["conventions"]
    lines = describe_conventions(rows).splitlines()
    assert lines[1].split()[-2:] == ["100.00", "+0.00"] and len(lines) == len(rows) + 2
    half = [
        {"what": "VOC2012", "mAP": 0.5, "change": 0.0},
        {"what": "VOC2007", "mAP": 6 / 11, "change": 1 / 22},
    ]
    lines = describe_conventions(half).splitlines()
    assert lines[1].split()[-2:] == ["50.00", "+0.00"] and lines[2].split()[-2:] == ["54.55", "+4.55"]


def test_an_interval_for_people():
    text = describe_interval(vars(Interval(0.25, 0.123, 0.456, 1000, 0.95, 0)))
    assert text == "95 % interval over 1000 resamples of the pictures (seed 0): 12.30 to 45.60"


def test_a_lesion_stands_before_the_score():
    result = {"without": ["res3.1"], "metric": "voc12", "scores": {"mAP": 0.5}, "class_ap": {"ape": None}}
    assert describe_all(result).splitlines()[:2] == ["without res3.1", "voc12 in %: mAP 50.00"]
