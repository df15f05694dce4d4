"""Files that are whole or absent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foundation.atomic_files import replace_atomically
from foundation.errors import UserError
from training.run_folder import load_checkpoint, save_checkpoint


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError), replace_atomically(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise KeyError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]
    with replace_atomically(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["file"]


def test_others_may_read_what_the_umask_allows(tmp_path: Path):
    with replace_atomically(tmp_path / "file") as temporary:
        temporary.write_text("")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


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
