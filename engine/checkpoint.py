"""Files that are whole or absent, and the checkpoint from which a killed run goes on."""

import io
import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from engine.errors import UserError


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there takes its place when the block succeeds.

    A reader, or a run killed at any moment, sees the old file or the new one, never a part.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp's own mode would hide the file from others
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a failed write does not say where
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes tensors and plain containers; an earlier checkpoint stays until the new one is complete.

    Raises:
        OSError: it could not be written, for instance because the disk is full.
    """
    buffer = io.BytesIO()  # torch.save's own errors on a full disk do not say what happened
    torch.save(content, buffer)
    with replace_atomically(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `save_checkpoint` wrote, on the CPU. Nothing in the file is executed.

    Raises:
        UserError: the file is broken or of another kind.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, LookupError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path} is broken or no checkpoint ({reason}); "
            "continue from another copy, or start again with --overwrite"
        ) from error
    if not isinstance(content, dict) or "step" not in content:
        raise UserError(f"{path} is not a checkpoint of this toolkit; start again with --overwrite")
    return content
