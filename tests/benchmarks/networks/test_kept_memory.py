"""Work in processes of its own, with and without freed memory kept. No timing decides here."""

from collections.abc import Callable

import pytest
from torch import nn

from benchmarks.networks import kept_memory as module
from benchmarks.networks.kept_memory import WORKS, Worker, memory_calls, steps_of_resnet


def test_a_worker_works_until_it_is_ended():
    worker = Worker(steps_of_resnet, keeps=True)
    worker(), worker()
    assert worker._process.is_alive()
    worker.end()
    assert worker._process.exitcode == 0


def test_rows_and_their_processes(monkeypatch: pytest.MonkeyPatch):
    ended: list[bool] = []

    class Told:
        def __init__(self, prepare: Callable, *, keeps: bool) -> None:
            self.prepare, self.keeps = prepare, keeps

        def end(self) -> None:
            ended.append(self.keeps)

    monkeypatch.setattr(module, "Worker", Told)
    rows = {name: (ours, peer) for name, ours, peer in memory_calls()}
    assert {name: tuple(side.prepare for side in sides) for name, sides in rows.items()} == WORKS
    assert all((ours.keeps, peer.keeps) == (True, False) for ours, peer in rows.values())
    assert ended == [True, False] * len(WORKS)


@pytest.mark.parametrize("name", WORKS)
def test_works_are_built(monkeypatch: pytest.MonkeyPatch, name: str):
    built: list[str] = []
    monkeypatch.setattr(module, "create_model", lambda name: built.append(name) or nn.Conv2d(3, 4, 1))
    monkeypatch.setattr(module, "contest", lambda *kind: built.append(kind[0]) or _Contest())
    monkeypatch.setattr(module, "training_calls", lambda both, cast: ("training step", both.train))
    monkeypatch.setattr(module, "step_calls", lambda name: built.append(name) or (print, repr))
    assert all(callable(prepare()) for prepare in WORKS[name]) and len(built) == 2


class _Contest:
    batch = "batch"

    def train(self, batch: str) -> None:
        assert batch == "batch"
