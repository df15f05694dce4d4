"""Files that are whole or absent, whatever happens while they are written."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_LONGEST_PREFIX = 240  # bytes; most file systems allow 255, and a random end follows


@contextmanager
def replace_atomically(path: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """Gives a temporary path beside `path`, whose file replaces that of `path` when the block succeeds.

    A reader, or a run killed at any moment, sees the old file or the new one, never a part. The content is on
    the disk before the name points to it, and the name before this returns, so that a power cut leaves one of
    the two as well. The folder is made if need be, with those above it.

    Args:
        keep: where the old file goes, if there is one; until then `path` may be absent for a moment.
    """
    make_folder(path.parent)
    prefix = os.fsdecode(os.fsencode(f".{path.name}.")[:_LONGEST_PREFIX])
    handle, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync(temporary)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp's own mode would hide the file from others
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
        sync(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a failed write does not say where
        raise


def sync(path: Path) -> None:
    """Waits until a file's content, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it, whose names are on the disk before this returns."""
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(new):
        sync(folder.parent)


def write_bytes(path: Path, content: bytes | memoryview, *, keep: Path | None = None) -> None:
    """Writes a file in one step, as `replace_atomically` does."""
    with replace_atomically(path, keep=keep) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a file of UTF-8 text in one step; what no text can hold is escaped, as "\\udcff"."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """As `write_text`, of JSON."""
    write_text(path, json.dumps(content, indent=indent))


def write_arrays(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """As `write_bytes`, of a NumPy archive (.npz), uncompressed; equal content gives equal bytes."""
    content: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    with replace_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **content)
