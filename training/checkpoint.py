"""The checkpoint from which a killed run goes on."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from foundation.atomic_files import write_bytes
from foundation.errors import UserError


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes tensors and plain containers; an earlier checkpoint stays until the new one is complete.

    Raises:
        OSError: it could not be written, for instance because the disk is full.
    """
    buffer = io.BytesIO()  # torch.save's own errors on a full disk do not say what happened
    torch.save(content, buffer)
    write_bytes(path, buffer.getbuffer())


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
