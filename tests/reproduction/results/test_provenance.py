"""What a report says of the command and the machine that made it."""

import sys
from pathlib import Path

import pytest
import torch

from reproduction.results import provenance
from reproduction.results.provenance import describe_machine, made_here, processor_name


def test_command_and_release(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["tools/reproduce.py", "--table", "6", "schedule.milestones=[500, 750]"])
    made = made_here()
    assert made.command == "python tools/reproduce.py --table 6 'schedule.milestones=[500, 750]'"
    assert made.torch == torch.__version__ and made.machine == describe_machine()


def test_the_command_is_of_the_root_and_says_not_how_it_went_on(monkeypatch: pytest.MonkeyPatch, root: Path):
    arguments = ["--out", "runs/a", "--resume", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", [str(root / "tools" / "transfer.py"), *arguments])
    assert made_here().command == "python tools/transfer.py --out runs/a --seeds 2"


def test_the_processor_and_every_gpu_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Some CPU\n\nmodel name\t: Some CPU\n")
    monkeypatch.setattr(provenance, "PROCESSORS", file)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    assert describe_machine().startswith("GPU 0, GPU 1, CPU Some CPU (")
    assert describe_machine().rpartition("cores: ")[2].isdecimal()


def test_without_a_list_of_processors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(provenance, "PROCESSORS", tmp_path / "none")
    assert processor_name()
