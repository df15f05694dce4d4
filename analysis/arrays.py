"""What goes into every analysis, pictures in batches, and what comes out, named arrays."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.checkpoint import replace_atomically
from engine.errors import UserError

Arrays = dict[str, NDArray[Any]]
Batches = Iterable[tuple[Tensor, Tensor]]  # pictures (N, 3, H, W) as the network wants them, labels (N,)


def to_arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    """Float tensors of one device as float64 arrays, in one transfer."""
    joined = torch.cat([tensor.detach().double().flatten() for tensor in tensors.values()]).cpu()
    parts = joined.split([tensor.numel() for tensor in tensors.values()])
    pairs = zip(tensors.items(), parts, strict=True)
    return {name: part.view(tensor.shape).numpy() for (name, tensor), part in pairs}


def save_arrays(path: Path, arrays: Arrays) -> None:
    """One .npz file; equal arrays give equal bytes."""
    with replace_atomically(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def check_pictures(count: int) -> None:
    """Refuses an analysis of nothing.

    Raises:
        UserError: count is 0.
    """
    if not count:
        raise UserError("there are no pictures to analyse; choose another data.val_split, or another data.root")
