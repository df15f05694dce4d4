"""Both loaders read the same pictures with any number of workers. No timing decides here."""

from pathlib import Path

import pytest

from benchmarks.scale import loader_speed as module
from benchmarks.scale.loader_speed import BATCH, loader_table, measure


def test_every_number_of_workers_reads_both_sets(tmp_path: Path):
    found = measure(tmp_path, (0, 1), 2 * BATCH)
    assert set(found) == set(module.KINDS)
    assert all(speed > 0 and cost > 0 for rows in found.values() for speed, cost in rows)
    assert all(len(rows) == 2 for rows in found.values())


def test_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    found = {"classification": [[300.4, 0.0012], [500, 0.001]], "detection": [[400, 0.002], [90, 0.01]]}
    asked = []
    monkeypatch.setattr(module, "start", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(module, "answer", lambda process: found)
    assert loader_table(tmp_path, (0, 8), 32).splitlines()[2:] == [
        "| 0 | 300 | 1.20 | 400 | 2.00 |",
        "| 8 | 500 | 1.00 | 90 | 10.00 |",
    ]
    assert asked == [("benchmarks.scale.loader_speed", str(tmp_path), "0,8", "32")]
