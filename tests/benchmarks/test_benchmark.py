"""Both sides of the benchmark get the same, and the table says what was measured. No timing decides here."""

import pytest
import torch

from benchmarks import benchmark as module
from benchmarks.benchmark import Timing, benchmark, compare


def test_rounds_in_turn_and_their_medians(monkeypatch: pytest.MonkeyPatch):
    # Seconds of ours 1, 2, 4 and of the peer 3, 4, 4: medians 2 and 4, ratios 3, 2, 1.
    calls, durations = [], iter([1.0, 3.0, 2.0, 4.0, 4.0, 4.0])
    monkeypatch.setattr(module, "_seconds", lambda call: (call(), next(durations))[1])
    timing = compare("x", lambda: calls.append("ours"), lambda: calls.append("peer"), rounds=3)
    assert calls == ["ours", "peer"] * 4  # the first pair warms up
    assert timing == Timing("x", 2.0, 4.0, 2.0)


def test_the_table(monkeypatch: pytest.MonkeyPatch):
    assert Timing("x", 0.0104, 0.5, 2.345).cells() == ["x", "10.4", "500", "2.35"]
    monkeypatch.setattr(module, "compare", lambda name, ours, peer, rounds: Timing(name, 1, rounds, rounds))
    monkeypatch.setattr(module, "opening_line", lambda: "opened")
    monkeypatch.setattr(module, "memory_table", lambda device: "memory")
    monkeypatch.setattr(module, "switch_memory", lambda device: "switches")
    monkeypatch.setattr(module, "localization_memory", lambda device: "localized")
    monkeypatch.setattr(module, "recompute_table", lambda: "recomputed")
    monkeypatch.setattr(module, "pixel_errors", lambda: ["pixels"])
    for part in module.PARTS:
        monkeypatch.setitem(
            module.PARTS, part, lambda device, part=part: [(part, lambda: None, lambda: None)]
        )
    lines = benchmark(3, "cpu").splitlines()
    assert "CPU" in lines[0] and torch.__version__ in lines[0] and lines[0].endswith("3 rounds")
    assert lines[1:4] == ["", "| what | ours, ms | peer, ms | peer / ours |", "| --- | --- | --- | --- |"]
    assert lines[4:] == [
        *(f"| {part} | 1000 | 3000 | 3.00 |" for part in module.PARTS),
        *("", "opened", "", "memory", "", "switches", "", "localized", "", "recomputed", "", "pixels"),
    ]
    assert benchmark(3, "cpu", ["evaluation"]).splitlines()[4:] == ["| evaluation | 1000 | 3000 | 3.00 |"]
