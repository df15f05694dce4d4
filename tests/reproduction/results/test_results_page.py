"""The page of results from its template and records."""

import json
import shutil
from pathlib import Path

import pytest

from foundation.errors import UserError
from reproduction.results.results_page import fill, results_page
from reproduction.results.run_records import RECORDS


@pytest.fixture
def records(content: dict, tmp_path: Path) -> Path:
    (tmp_path / "one.json").write_text(json.dumps(content))
    return tmp_path


def test_commands_conditions_table_and_numbers(records: Path):
    page = fill('AP {{ value("one", "AP", "one") }}:\n\n{{ record("one") }}\n', records).splitlines()
    assert page[0] == "AP 30.0:"
    assert page[2:9] == [
        *("```", "python tools/pretrain.py --out runs/one", "python tools/pretrain.py --out runs/two", "```"),
        *("", "Machine: two cores; torch 2.14.1; seeds 0, 1, 2; 1,600 steps.", ""),
    ]
    assert page[9].startswith("| network |") and page[-1].startswith("| two |")


def test_differences_in_prose(records: Path):
    text = '{{ value("one", "AP", "one", less="two") }} {{ value("one", "AP", "two", digits=2) }}'
    assert fill(f'{text}{{% set table = record("one") %}}', records) == "1.5 28.50"


def test_long_commands_end_before_options(content: dict, tmp_path: Path):
    names = " ".join(f"row{number}" for number in range(14))
    command = (
        f"python tools/reproduce.py --table 6 --rows {names} 'schedule.milestones=[1, 2]' run.device=cpu"
    )
    content["commands"] = [command]
    (tmp_path / "one.json").write_text(json.dumps(content))
    lines = fill('{{ record("one") }}', tmp_path).splitlines()
    assert lines[1:4] == [
        f"python tools/reproduce.py --table 6 --rows {names} \\",
        "  'schedule.milestones=[1, 2]' run.device=cpu",
        "```",
    ]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ('{{ record("ones") }}', r"ones.json: no such record; did you mean 'one'"),
        ("nothing", r'one.json stands nowhere on the page: add {{ record\("one"\) }}'),
        ('{{ value("one", "AP", "three") }}', r"one.json: results.jinja asks for 'AP' of a row 'three'"),
        ('{{ value("two", "AP", "one") }}', r"two.json: results.jinja asks for 'AP'"),
    ],
)
def test_what_is_not_there(records: Path, template: str, message: str):
    with pytest.raises(UserError, match=message):
        fill(template, records)


def test_a_changed_record_changes_its_line_of_the_page(tmp_path: Path, root: Path):
    """What the guard compares, tests/guards/test_documents.py."""
    shutil.copytree(RECORDS, tmp_path / "records")
    file = tmp_path / "records" / "cifar10_short.json"
    file.write_text(file.read_text().replace("17.8", "17.7"))
    before = (root / "docs" / "results.md").read_text().splitlines()
    now = results_page(tmp_path / "records").splitlines()
    changed = [pair for pair in zip(before, now, strict=True) if pair[0] != pair[1]]
    assert changed == [
        (
            "| 3,200 | 8.2 | 21.29 | 17.80 | −3.49 |",
            "| 3,200 | 8.2 | 21.29 | 17.70 | −3.59 |",
        )
    ]
