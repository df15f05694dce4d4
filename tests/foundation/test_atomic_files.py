import os
import stat
from pathlib import Path

import numpy as np
import pytest

from foundation.atomic_files import (
    make_folder,
    replace_atomically,
    write_arrays,
    write_bytes,
    write_json,
    write_text,
)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path):
    path = tmp_path / "x.bin"
    write_bytes(path, b"old")
    with replace_atomically(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old" and temporary.parent == tmp_path
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["x.bin"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "x.bin"
    write_bytes(path, memoryview(b"old"))
    with pytest.raises(OSError, match="No space") as caught, replace_atomically(path) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.bin"]


def test_interrupts_leave_nothing_either(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), replace_atomically(tmp_path / "x.bin"):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_others_may_read_what_the_umask_allows(tmp_path: Path):
    mask = os.umask(0o022)
    try:
        write_bytes(tmp_path / "x.bin", b"")
    finally:
        os.umask(mask)
    assert (tmp_path / "x.bin").stat().st_mode & 0o777 == 0o644


def test_text_brings_its_folder_along(tmp_path: Path):
    for text in ("old", "Übung\n"):
        write_text(tmp_path / "a" / "b" / "x.txt", text)
    assert (tmp_path / "a" / "b" / "x.txt").read_bytes() == "Übung\n".encode()
    assert len(list((tmp_path / "a" / "b").iterdir())) == 1
    write_json(tmp_path / "c" / "x.json", {"a": [1, None]})
    assert (tmp_path / "c" / "x.json").read_text() == '{"a": [1, null]}'


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (done.append("folder" if is_folder(handle) else "file"), fsync(handle))
    )
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("name"), replace(*names)))
    write_bytes(tmp_path / "x.bin", b"new")
    assert done == ["file", "name", "folder"]
    done.clear()
    make_folder(tmp_path / "a" / "b")
    assert done == ["folder", "folder"] and (tmp_path / "a" / "b").is_dir()
    make_folder(tmp_path / "a" / "b")
    assert done == ["folder", "folder"]


def is_folder(handle: int) -> bool:
    return stat.S_ISDIR(os.fstat(handle).st_mode)


def test_the_old_file_can_be_kept_under_another_name(tmp_path: Path):
    path, old = tmp_path / "x.bin", tmp_path / "x.old.bin"
    write_bytes(path, b"1", keep=old)
    assert not old.exists()
    for content in (b"2", b"3"):
        write_bytes(path, content, keep=old)
    assert (path.read_bytes(), old.read_bytes()) == (b"3", b"2")


def test_the_folder_is_made_and_long_names_are_no_trouble(tmp_path: Path):
    write_bytes(tmp_path / "a" / "b" / ("x" * 255), b"1")
    assert [len(file.name) for file in (tmp_path / "a" / "b").iterdir()] == [255]


def test_what_no_text_can_hold_is_escaped(tmp_path: Path):
    write_text(tmp_path / "x.txt", "\udcff.png")  # the name of a file that is no UTF-8
    assert (tmp_path / "x.txt").read_text() == "\\udcff.png"


def test_equal_arrays_give_equal_bytes(tmp_path: Path):
    for name in ("a", "b"):
        write_arrays(tmp_path / f"{name}.npz", {"x": [1, 2], "text": "é"})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["x"].tolist() == [1, 2] and str(archive["text"]) == "é"
