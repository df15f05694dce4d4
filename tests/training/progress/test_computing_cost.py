"""What a computation costs: its seconds are those of its block, a picture; its memory that of the device."""

from types import SimpleNamespace

import pytest
import torch

from training.progress import computing_cost
from training.progress.computing_cost import measured

CPU = torch.device("cpu")


def test_seconds_by_hand(monkeypatch: pytest.MonkeyPatch):
    times = iter([10.0, 13.0])
    monkeypatch.setattr(computing_cost, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with measured(CPU, 6) as cost:
        assert cost == {}
    assert cost["seconds_a_picture"] == 0.5  # 3 s for 6 pictures


def test_memory_of_the_host():
    with measured(CPU, 0) as cost:
        held = torch.ones(25_000_000)  # 100 MB
    assert cost["memory_of"] == "RAM" and cost["memory_bytes"] > 100e6
    assert held.sum() and cost["seconds_a_picture"] > 0


def test_memory_of_a_gpu_is_that_of_the_block(monkeypatch: pytest.MonkeyPatch):
    most = {"bytes": 9_000}
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: most.update(bytes=0))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: most["bytes"])
    with measured(torch.device("cuda", 0), 1) as cost:
        most["bytes"] += 500
    assert (cost["memory_of"], cost["memory_bytes"]) == ("GPU", 500)
