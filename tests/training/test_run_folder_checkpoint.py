"""Checkpoints: whole or refused, the one before kept beside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foundation.errors import UserError
from training.run_folder import checkpoint_before, last_checkpoint, load_checkpoint, save_checkpoint


def test_round_trip_keeps_bits_and_layout(tmp_path: Path):
    tensor = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    save_checkpoint(tmp_path / "c.pt", {"step": 3, "x": tensor, "history": [(1, 0.5)]})
    content = load_checkpoint(tmp_path / "c.pt")
    assert content["step"] == 3 and torch.equal(content["x"], tensor)
    assert content["x"].stride() == tensor.stride()


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_broken_checkpoints_are_refused(tmp_path: Path, damage: bytes | None):
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"step": 3, "x": torch.randn(1000)})
    path.write_bytes(path.read_bytes()[:2000] if damage is None else damage)
    with pytest.raises(UserError, match=r"c\.pt is broken or no checkpoint.*--overwrite"):
        load_checkpoint(path)


def test_the_checkpoint_before_is_kept_and_taken_by_choice(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2, 3):
        save_checkpoint(path, {"step": step})
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.previous.pt", "checkpoint.pt"]
    assert last_checkpoint(tmp_path) == {"step": 3}
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"remove it, and --resume goes on from .* checkpoint\.previous\.pt"):
        last_checkpoint(tmp_path)
    assert caplog.messages == []
    path.unlink()
    assert last_checkpoint(tmp_path) == {"step": 2}
    assert caplog.messages == [f"no checkpoint at {path}: the one before it is taken, of step 2"]
    checkpoint_before(path).unlink()
    assert last_checkpoint(tmp_path) is None


def test_something_else_is_refused(tmp_path: Path):
    torch.save([1], tmp_path / "c.pt")
    with pytest.raises(UserError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path):
    # A limit on file sizes stands in for the full disk: the write fails midway with an OSError all the same.
    code = """
import resource, sys, torch
from pathlib import Path
from training.run_folder import save_checkpoint
path = Path(sys.argv[1])
save_checkpoint(path, {"step": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(path, {"step": 2, "x": torch.zeros(100_000)})
except OSError as error:
    sys.exit(7 if error.filename == sys.argv[1] else 8)
"""
    path = tmp_path / "c.pt"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=root).returncode == 7
    assert load_checkpoint(path) == {"step": 1} and os.listdir(tmp_path) == ["c.pt"]
