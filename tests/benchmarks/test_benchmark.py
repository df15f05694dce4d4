"""Every part is timed, and told when it is done. No timing decides here."""

from functools import partial
from pathlib import Path

import pytest

from benchmarks import benchmark as module
from benchmarks.benchmark import NOTES, PARTS, benchmark
from benchmarks.measuring.row_timing import Timing
from benchmarks.measuring.speed_records import read_speed_record
from tools import benchmark as tool


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part has a row of its name, and a note where it had some."""
    monkeypatch.setattr(module, "compare", lambda name, ours, peer, seconds: Timing(name, (1.0,), (seconds,)))
    for part in PARTS:
        monkeypatch.setitem(PARTS, part, partial(_row, part))
    for part in NOTES:
        monkeypatch.setitem(NOTES, part, lambda device, part=part: [f"{part} on {device}"])


def _row(part: str, device: str) -> list[module.Pair]:
    return [(part, lambda: None, lambda: None)]


def test_every_part_when_it_is_done(quick: None):
    found = dict(benchmark(3, "cpu"))
    assert [*found] == [*PARTS] and set(NOTES) <= set(PARTS)
    for name, part in found.items():
        assert part.rows == [Timing(name, (1,), (3,))]
        assert part.notes == ([f"{name} on cpu"] if name in NOTES else [])
        assert 0 <= part.set_up <= part.seconds
    assert [name for name, _ in benchmark(3, "cpu", ["start", "cifar"])] == ["start", "cifar"]


def test_what_is_done_is_kept(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def fail(device: str) -> list[module.Pair]:
        raise ArithmeticError("broken")

    monkeypatch.setitem(PARTS, "pictures", fail)
    file = tmp_path / "cpu.json"
    arguments = ["cifar", "pictures", "--seconds", "2", "--out", str(file)]
    with pytest.raises(ArithmeticError):
        tool.main(tool.parser().parse_args(arguments))
    assert [*read_speed_record(file).parts] == ["cifar"]
    assert "| cifar | 1000 | 2000 | 2.00 (2.00–2.00) | 1 |" in capsys.readouterr().out


def test_the_command_names_every_part():
    helped = " ".join(tool.parser().format_help().split())
    assert f"{', '.join(PARTS)} (default: all)" in helped
