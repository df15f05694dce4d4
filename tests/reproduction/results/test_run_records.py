"""A record is read, or refused in one line that names the file and the field."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from reproduction.classifier_table_report import markdown, record
from reproduction.detectors import detection_table_report as detections
from reproduction.detectors.detection_tables import DETECTION_TABLES
from reproduction.localization import localization_table_report as localization
from reproduction.localization.localization_tables import LOCALIZATION_TABLES
from reproduction.published.paper import TABLES
from reproduction.results.experiments import Experiment
from reproduction.results.provenance import Made
from reproduction.results.run_records import Report, read_record, read_records
from reproduction.tables import read_line

MADE = Made("python tools/reproduce.py --table 6", "a machine", None)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        file = tmp_path / "one.json"
        file.write_text(json.dumps(content))
        return file

    return write


@pytest.fixture
def report(write_run: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """Table 6's record with ResNet-20 of two seeds."""
    for seed, error in enumerate([8.5, 9.0]):
        write_run("resnet20_cifar", seed, top1_error=error)
    rows = [row for row in TABLES["6"].rows if row.key in ("resnet20_cifar", "plain20_cifar")]
    return asdict(record("6", [read_line(row, "last", tmp_path) for row in rows], MADE))


def test_an_experiment(content: dict, write: Callable[[Any], Path]):
    found = read_record(write(content))
    assert isinstance(found, Experiment) and found.seeds == (0, 1, 2)
    assert read_records(write(content).parent) == {"one": found}


def test_a_report_as_it_was_written(report: dict, write: Callable[[Any], Path], tmp_path: Path):
    found = read_record(write(report))
    assert isinstance(found, Report)
    lines = [
        read_line(row, "last", tmp_path)
        for row in TABLES["6"].rows
        if row.key in ("resnet20_cifar", "plain20_cifar")
    ]
    assert found.markdown() == markdown(record("6", lines, MADE))
    assert "| ResNet-20 | 8.75 | 8.75 ± 0.35 | 2 | +0.00 |" in found.markdown()
    assert found.means == {("resnet20_cifar", "top1_error"): 8.75}
    assert found.commands == ["python tools/reproduce.py --table 6"]
    assert found.conditions == "Machine: a machine; torch of a release that is not known."


def test_reports_of_detectors_and_of_localization(write: Callable[[Any], Path], tmp_path: Path):
    rows = detections.read_lines(DETECTION_TABLES["9"].rows, tmp_path)
    of_detectors = detections.record("9", rows, MADE)
    assert read_record(write(asdict(of_detectors))).markdown() == detections.markdown(of_detectors)
    lines = localization.read_lines(LOCALIZATION_TABLES["13"].rows, tmp_path)
    located = localization.record("13", lines, Made(None, None, None))
    found = read_record(write(asdict(located)))
    assert isinstance(found, Report) and found.commands == [] and found.means == {}
    assert found.markdown() == localization.localization_markdown(located)


def changed(content: Any, path: str, value: Any) -> Any:
    """With the value at a dotted path; None removes it."""
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    inner = content
    for part in parents:
        inner = inner[part]
    inner[last] = value
    if value is None:
        del inner[last]
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("machine", None, "machine: Field required"),
        ("seeds", ["0"], "seeds.0: expected a valid integer, got '0'"),
        ("host", "a", "host: Unexpected keyword argument, got 'a'"),
        (
            "rows.1.scores.AP",
            {"mean": 3},
            "rows.1.scores.AP: expected either values, or mean, deviation and n",
        ),
        ("rows.0.scores.AP.n", 3, "rows.0.scores.AP: expected either values, or mean"),
        ("rows.0.scores.APP", {"values": [1]}, "rows.0: 'APP' stands in no column"),
        ("rows.1.scores.AP", None, "rows.1: a difference of 'AP', but not both scores"),
        (
            "rows.1.less_the_first_row.AP.value",
            1.5,
            "rows.1: AP less that of the first row is 1.5, but -1.50",
        ),
        ("columns.3.of", "mAP", "columns: 'AP' is of 'mAP', which no row has"),
        ("columns.3.best", "middle", "columns.3.best: expected 'lowest' or 'highest', got 'middle'"),
    ],
)
def test_wrong_experiments(content: dict, write: Callable[[Any], Path], path: str, value: Any, message: str):
    file = write(changed(content, path, value))
    with pytest.raises(UserError) as caught:
        read_record(file)
    text = str(caught.value)
    assert text.startswith(f"{file}: {message}") and text.endswith("says what a record holds")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("between", "value", "message"),
    [
        (["two", "one"], 1.5, "rows.2: AP less that of 'one' is 1.5, but -1.50 by the means"),
        (["two", "ones"], -1.5, "rows.2: a difference of 'AP', but not both scores"),
        (None, -1.5, "rows.2: a difference of 'AP', but not both scores"),
        (["two"], -1.5, "rows.2.between.1: Field required"),
    ],
)
def test_wrong_rows_between(
    content: dict, write: Callable[[Any], Path], between: list[str] | None, value: float, message: str
):
    row = {"labels": {"network": "more"}, "differences": {"AP": {"value": value, "low": -3, "high": 2}}}
    content["rows"].append(row | ({} if between is None else {"between": between}))
    with pytest.raises(UserError) as caught:
        read_record(write(content))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("table", "66", "table: no table '66' is held; did you mean '6'"),
        ("made", None, "made: Field required"),
        ("made.gpu", "H200", "made.gpu: Unexpected keyword argument"),
        (
            "rows.0.key",
            "resnet20_cifr",
            "rows.0.key: no row has 'resnet20_cifr'; did you mean 'resnet20_cifar'",
        ),
        ("rows.0.runs.1.steps", "many", "rows.0.runs.1.steps: expected a valid integer"),
        # A run that was changed by hand without what follows from it.
        ("rows.0.runs.1.scores.top1_error", 7.0, "rows.0.scores is "),
        ("rows.0.paper.top1_error.value", 9.75, "rows.0.paper is "),
        ("rows.0.label", "ResNet", "rows.0.label is 'ResNet', but 'ResNet-20' by"),
    ],
)
def test_wrong_reports(report: dict, write: Callable[[Any], Path], path: str, value: Any, message: str):
    file = write(changed(report, path, value))
    with pytest.raises(UserError) as caught:
        read_record(file)
    assert str(caught.value).startswith(f"{file}: {message}")


def test_what_is_no_record(write: Callable[[Any], Path]):
    file = write([1, 2])
    with pytest.raises(UserError, match=r"one.json: expected fields in braces, got '\[1, 2\]'"):
        read_record(file)
    file.write_text("{")
    with pytest.raises(UserError, match="one.json: is damaged .*says what a record holds"):
        read_record(file)
