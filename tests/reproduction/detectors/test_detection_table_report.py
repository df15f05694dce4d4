"""The report of a detection table, from evaluations written by hand on two pictures with an object each."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from reproduction.detectors.detection_table_report import markdown, read_lines, record
from reproduction.detectors.detection_tables import DETECTION_TABLES
from reproduction.detectors.detector_groups import Scored
from reproduction.results.provenance import Made
from reproduction.results.run_records import Report, read_record
from training.config import config_values

TABLE = DETECTION_TABLES["9"]
ROWS = list(TABLE.rows)
MADE = Made(None, None, None)
Place = Callable[..., Path]


@pytest.fixture
def place(scored: Callable[..., Scored], tmp_path: Path) -> Place:
    """Writes the evaluation of a row that found the objects of these pictures alone."""

    def write(
        key: str,
        seed: int,
        found: Sequence[int],
        seconds: float = 0.5,
        metric: str = "voc12",
        lr: float = 0.1,
    ) -> Path:
        detector = scored(f"{key}_seed{seed}", found, metric)
        config = replace(detector.config, optim=replace(detector.config.optim, lr=lr))
        sections: dict[str, Any] = {}
        for name, value in config_values(config).items():
            section, _, option = name.rpartition(".")
            (sections.setdefault(section, {}) if section else sections)[option] = value
        cost = {"seconds_a_picture": seconds, "memory_of": "RAM", "memory_bytes": 1.5e9}
        scores = {"mAP": len(found) / 2} if metric != "coco" else {}
        result = {"scores": scores, "evaluated": {"config": sections, "cost": cost}}
        (detector.folder / "result.json").write_text(json.dumps(result))
        return tmp_path

    return write


def cells(text: str, label: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_paired_differences_by_hand(place: Place):
    """Each seed of the baseline finds another object: the mean over the seeds is 50 in every resample.

    The refined one finds both always: 50 more, whatever is drawn. The one with context finds the first alone,
    0, 50 or 100 with probabilities 1/4, 1/2, 1/4: between 100 and 0 less than the row before, and between 50
    less and 50 more than the baseline.
    """
    for seed, ids in ((0, [1]), (1, [2])):
        place("baseline", seed, ids, seconds=0.5 + seed)
        place("refinement", seed, [1, 2])
        folder = place("context", seed, [1])
    text = markdown(record("9", read_lines(ROWS, folder), MADE))
    heading = next(line for line in text.splitlines() if line.startswith("| row"))
    assert "paper, AP50 / AP, %" in heading and "ours, mAP, %" in heading
    baseline = cells(text, "baseline, ResNet-101")
    assert baseline[1:5] == ["48.40 / 27.20", "50.00 ± 0.00", "2", ""]  # of another figure than the paper's
    assert baseline[5:] == ["", "", "1.00", "RAM 1.50 GB"]  # (0.5 + 1.5) / 2 seconds
    assert cells(text, "+ box refinement")[5:7] == ["+50.00 (+50.00 to +50.00)", ""]
    assert cells(text, "+ context")[5:7] == ["−50.00 (−100.00 to +0.00)", "+0.00 (−50.00 to +50.00)"]
    assert cells(text, "+ multi-scale testing")[2:4] == ["not run", "0"]
    assert "interval of a difference over the choice of pictures" in text
    assert "In print also, ensemble of three, test-dev, trained on train + val: 59.00 / 37.40." in text
    assert "Not comparable with the paper (+ context): `" in text
    assert "`data.val` val instead of val2014; and 4 more." in text


def test_the_difference_from_the_paper(place: Place):
    folder = place("baseline", 0, [1], metric="coco")
    lines = read_lines(ROWS[1:2], folder)
    content = record("9", lines, MADE)
    text = markdown(content)
    # 51 of 101 recalls are reached: 50.495; less 48.4 and 27.2.
    assert cells(text, "baseline, ResNet-101")[2:5] == [
        *("50.50 / 50.50", "1", "(+2.10 / +23.30) not comparable")
    ]
    (row,) = content.rows
    assert row.key == "baseline" and not row.comparable and row.row_before is None
    assert row.scores["AP"].difference == pytest.approx(5100 / 101 - 27.2)
    assert row.runs[0].cost.seconds_a_picture == 0.5
    same = replace(lines[0], changed=[])  # of the paper's recipe
    assert cells(markdown(record("9", [same], MADE)), "baseline, ResNet-101")[4] == "+2.10 / +23.30"


def test_the_record_holds_intervals(place: Place, tmp_path: Path):
    place("baseline", 0, [1])
    folder = place("refinement", 0, [1, 2])
    content = record("9", read_lines(ROWS, folder), MADE)
    row = asdict(content)["rows"][2]
    assert row["row_before"] == "baseline" and row["less_the_baseline"] == {}
    assert row["less_the_row_before"] == {"mAP": {"value": 50.0, "low": 0.0, "high": 100.0}}
    file = tmp_path / "table9.json"
    file.write_text(json.dumps(asdict(content), allow_nan=False))
    found = read_record(file)
    assert isinstance(found, Report) and found.content == content
    assert found.means == {("baseline", "mAP"): 50, ("refinement", "mAP"): 100}


def test_seeds_of_different_recipes_have_no_mean(place: Place):
    place("baseline", 0, [1])
    folder = place("baseline", 1, [1], lr=0.2)
    with pytest.raises(UserError, match=r"different configurations:\n  optim.lr: 0.1 before, 0.2 now"):
        read_lines(ROWS, folder)


def test_nothing_was_run(tmp_path: Path):
    lines = read_lines(TABLE.rows, tmp_path)
    assert cells(markdown(record("9", lines, MADE)), "ensemble of three")[1:4] == ["", "not run", "0"]
