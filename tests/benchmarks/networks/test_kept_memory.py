"""Work in processes of its own, with and without freed memory kept. No timing decides here."""

from collections.abc import Callable

import pytest
from torch import nn

from benchmarks.networks import kept_memory as module
from benchmarks.networks.kept_memory import WORKS, Worker, memory_calls


def test_a_worker_works_until_it_is_ended():
    worker = Worker("resnet50: training step", keeps=True)
    worker(), worker()
    assert worker._process.is_alive()
    worker.end()
    assert worker._process.exitcode == 0


def test_rows_and_their_processes(monkeypatch: pytest.MonkeyPatch):
    said: list[tuple[str, bool, str]] = []

    class Told:
        def __init__(self, name: str, *, keeps: bool) -> None:
            self.name, self.keeps = name, keeps

        def end(self) -> None:
            said.append((self.name, self.keeps, "ended"))

    monkeypatch.setattr(module, "Worker", Told)
    rows = [(name, ours.keeps, peer.keeps) for name, ours, peer in memory_calls()]  # type: ignore[attr-defined]
    assert rows == [(f"{name} (peer: freed memory goes back)", True, False) for name in WORKS]
    assert said == [(name, keeps, "ended") for name in WORKS for keeps in (True, False)]


@pytest.mark.parametrize("work", WORKS.values(), ids=str)
def test_works_are_built(monkeypatch: pytest.MonkeyPatch, work: Callable):
    built: list[str] = []
    monkeypatch.setattr(module, "create_model", lambda name: built.append(name) or nn.Conv2d(3, 4, 1))
    monkeypatch.setattr(module, "contest", lambda *kind: built.append(kind[0]) or _Contest())
    monkeypatch.setattr(module, "training_calls", lambda both, cast: ("training step", both.train))
    call = work()
    assert callable(call) and len(built) == 1


class _Contest:
    batch = "batch"

    def train(self, batch: str) -> None:
        assert batch == "batch"
