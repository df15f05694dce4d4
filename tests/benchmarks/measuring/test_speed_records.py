"""A sitting is read as it was written, and damage is named."""

import json
from pathlib import Path

import pytest

from benchmarks.measuring.row_timing import Timing
from benchmarks.measuring.speed_records import PartRecord, SpeedRecord, new_record, read_speed_record
from foundation.errors import UserError
from reproduction.results.provenance import Made

PART = PartRecord([Timing("net: forward", (1.0, 1.0), (2.0, 2.0))], ["A note."], set_up=1.5, seconds=7.5)
RECORD = SpeedRecord(Made("python x", "a CPU", "2"), 2, {"timm": "1"}, {"backbones": PART})


def test_read_as_written(tmp_path: Path):
    RECORD.save(tmp_path / "cpu.json")
    assert read_speed_record(tmp_path / "cpu.json") == RECORD
    assert RECORD.conditions() == "a CPU; torch's threads: 2; torch 2, timm 1"
    assert new_record().versions["torchvision"]


def test_a_part_in_markdown():
    heading, _, row, *rest = PART.markdown().splitlines()
    assert heading.startswith("| what | ours, ms | peer, ms | peer / ours") and rest == ["", "A note."]
    assert row == "| net: forward | 1000 | 2000 | 2.00 (2.00–2.00) | 2 |"
    assert PartRecord([], ["Only notes."], 0.0, 1.0).markdown() == "Only notes."


def test_rows_by_the_beginning_of_their_names():
    assert PART.named("net") == PART.rows
    with pytest.raises(UserError, match=r"no row begins with 'nat'"):
        PART.named("nat")


def test_damage_is_named(tmp_path: Path):
    file = tmp_path / "cpu.json"
    RECORD.save(file)
    content = json.loads(file.read_text())
    del content["parts"]["backbones"]["rows"][0]["peer"]
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"cpu\.json: parts\.backbones\.rows\.0\.peer: .*benchmark\.py --out"):
        read_speed_record(file)
