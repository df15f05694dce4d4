"""What a computation over pictures costs: seconds a picture, and memory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from training.progress.step_figures import memory_in_use


@contextmanager
def measured(device: torch.device, pictures: int) -> Iterator[dict[str, Any]]:
    """Gives a mapping that holds the cost of the block after it.

    "seconds_a_picture" is of the clock on the wall, reading included. "memory_bytes" is of "memory_of": of a
    GPU the most that tensors took within the block, of the host ("RAM") what this process holds at its end.
    """
    if device.type in ("cuda", "xpu"):
        getattr(torch, device.type).reset_peak_memory_stats(device)
    cost: dict[str, Any] = {}
    begun = time.monotonic()
    yield cost
    cost["seconds_a_picture"] = (time.monotonic() - begun) / max(1, pictures)
    cost["memory_of"], cost["memory_bytes"] = memory_in_use(device)
