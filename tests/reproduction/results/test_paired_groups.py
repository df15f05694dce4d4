"""Groups of networks as a record of the page of results."""

import json
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from reproduction.results.experiments import Difference
from reproduction.results.paired_groups import (
    ABOUT,
    Group,
    difference,
    paired_experiment,
    told,
    write_experiment,
)
from reproduction.results.provenance import Made
from reproduction.results.results_page import fill
from reproduction.results.run_records import read_record

MADE = Made("python tools/attribute.py", "a machine", "2.14.1")
# Of 21 resamples from 0 to 20 and their middle 95 %: 0.5 to 19.5.
GROUPS = {
    "one": Group({"AP": [40.0, 44.00004]}, {"AP": np.full(21, 42.0)}, "same"),
    "two": Group({"AP": [45.0, 46.0]}, {"AP": 42.0 + np.arange(21)}, "same"),
}


def experiment(pairs: list[tuple[str, str]]):
    return paired_experiment("start", GROUPS, pairs, metric="coco", steps=1200, made=MADE)


def test_the_record_is_one_of_the_page(tmp_path: Path):
    found = experiment([("two", "one")])
    write_experiment(found, tmp_path / "records", "transfer")
    assert read_record(tmp_path / "records" / "transfer.json") == found
    content = json.loads((tmp_path / "records" / "transfer.json").read_text())
    assert content["rows"][-1] == {
        "labels": {"start": "two less one"},
        "between": ["two", "one"],
        "differences": {"box AP": {"value": 3.5, "low": 0.5, "high": 19.5}},
    }
    assert content["rows"][0]["scores"] == {"box AP": {"values": [40.0, 44.0]}}
    assert (tmp_path / "records" / "transfer.md").read_text() == f"{told(found)}\n"
    page = fill('{{ record("transfer") }}\n\n{{ value("transfer", "box AP", "two", less="one") }}',
                tmp_path / "records").splitlines()  # fmt: skip
    assert page == [
        *("```", "python tools/attribute.py", "```", ""),
        *("Machine: a machine; torch 2.14.1; seeds 0, 1; 1,200 steps.", ""),
        *("| start, coco | box AP, % |", "| --- | ---: |"),
        *("| one | 42.0 ± 2.8 |", "| two | 45.5 ± 0.7 |", "| two less one | +3.5 (+0.5 to +19.5) |"),
        *("", "3.5"),
    ]


def test_a_record_changed_by_hand_changes_the_page_or_is_refused(tmp_path: Path):
    write_experiment(experiment([("two", "one")]), tmp_path, "transfer")
    before, text = fill('{{ record("transfer") }}', tmp_path), (tmp_path / "transfer.json").read_text()
    (tmp_path / "transfer.json").write_text(text.replace('"low": 0.5', '"low": 0.75'))
    after = fill('{{ record("transfer") }}', tmp_path)
    assert after == before.replace("(+0.5 to", "(+0.8 to") != before
    (tmp_path / "transfer.json").write_text(text.replace('"value": 3.5', '"value": 4.5'))
    with pytest.raises(UserError, match="rows.2: box AP less that of 'one' is 4.5, but 3.5 by the means"):
        fill('{{ record("transfer") }}', tmp_path)


def test_what_is_told():
    text = told(experiment([("one", "two")]))
    assert "| one less two | −3.5 (−19.5 to −0.5) |" in text
    assert text.startswith("Machine: a machine;") and text.endswith(ABOUT)


def test_other_pictures_are_refused():
    other = Group({"AP": [45.0]}, {"AP": np.zeros(21)}, "other")
    with pytest.raises(UserError, match="the networks were scored by different metrics, or on different"):
        difference(GROUPS["one"], other, "AP")


def test_without_an_object_there_is_no_interval():
    none = Group({"AP": [45.0]}, {"AP": np.full(21, np.nan)}, "same")
    assert difference(GROUPS["two"], none, "AP") == Difference(-0.5, None, None)
