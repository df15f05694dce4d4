"""What goes into every analysis, pictures in batches, and what comes out, named arrays."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foundation.atomic_files import write_arrays
from foundation.bounds import check_archive
from foundation.errors import UserError
from foundation.file_reading import UNREADABLE

Arrays = dict[str, NDArray[Any]]
Batches = Iterable[tuple[Tensor, Tensor]]  # pictures (N, 3, H, W) as the network wants them, labels (N,)


def to_arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    """Float tensors of one device as float64 arrays, in one transfer."""
    joined = torch.cat([tensor.detach().double().flatten() for tensor in tensors.values()]).cpu()
    parts = joined.split([tensor.numel() for tensor in tensors.values()])
    pairs = zip(tensors.items(), parts, strict=True)
    return {name: part.view(tensor.shape).numpy() for (name, tensor), part in pairs}


ABOUT = "about"  # the array in a file that says, as JSON, what was measured


def save_arrays(path: Path, arrays: Arrays, about: Mapping[str, Any]) -> None:
    """One .npz file; equal content gives equal bytes.

    Args:
        about: what was measured, and how; `load_arrays` compares it.
    """
    write_arrays(path, {**arrays, ABOUT: json.dumps(about)})


def load_arrays(path: Path, about: Mapping[str, Any]) -> Arrays | None:
    """What `save_arrays` wrote about the same; None where there is no such file, or of something else."""
    arrays = _read(path)
    same = ABOUT in arrays and arrays.pop(ABOUT).item() == json.dumps(about)
    return arrays if same else None


def load_about(path: Path) -> dict[str, Any]:
    """What `save_arrays` was told of a file; empty where there is none that it wrote."""
    arrays = _read(path)
    return json.loads(arrays[ABOUT].item()) if ABOUT in arrays else {}


def _read(path: Path) -> Arrays:
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except UNREADABLE:
        return {}


def check_pictures(count: int) -> None:
    """Refuses an analysis of no pictures with a `UserError`."""
    if not count:
        raise UserError("there are no pictures to analyse; choose another data.val_split or data.root")
