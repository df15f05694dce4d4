"""Seeds of all random generators, seeds of single items, and the generators' state for checkpoints."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from threading import RLock
from typing import Any

import numpy as np
import torch

# Whether a kind of device has a generator that this process may have drawn from. A run on the CPU leaves GPUs
# alone; Apple's takes nothing to ask.
_IN_USE: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_initialized,
    "xpu": torch.xpu.is_initialized,
    "mps": torch.backends.mps.is_available,
}
# All threads share torch's generator: this lock is held while it is seeded and drawn from, or set.
DRAWING = RLock()


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def draw_apart(seed: int, process: int) -> None:
    """Seeds one process of several for what it draws in training, such as dropout.

    Until here all of them have drawn the same: the network's first weights. Process 0 goes on as a run of one
    process does.
    """
    if process:
        seed_everything(item_seed(seed, -1, process))  # no epoch is -1


def item_seed(seed: int, epoch: int, index: int) -> int:
    """63-bit seed of one item in one epoch; it depends on nothing but the arguments."""
    digest = _epoch_hash(seed, epoch).copy()  # half the time of hashing the common beginning anew
    digest.update(b"%d" % index)
    return int.from_bytes(digest.digest(), "big") >> 1


@lru_cache(maxsize=4)
def _epoch_hash(seed: int, epoch: int) -> blake2b:
    return blake2b(f"{seed} {epoch} ".encode(), digest_size=8)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within the block the host's generators (Python's, NumPy's, torch's) are seeded; after it as before.

    It is for code of other libraries that draws from them. A GPU's generator is left alone.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


def capture_rng() -> dict[str, Any]:
    """State of this process's global generators, in types that `torch.load(weights_only=True)` admits."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        **{
            kind: torch.get_device_module(kind).get_rng_state() if in_use() else None
            for kind, in_use in _IN_USE.items()
        },
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Restores what `capture_rng` returned."""
    name, keys, *rest = state["numpy"]
    with DRAWING:
        random.setstate(state["python"])
        np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state["torch"])
        for kind, in_use in _IN_USE.items():
            if state.get(kind) is not None and in_use():  # checkpoints of earlier releases know cuda alone
                torch.get_device_module(kind).set_rng_state(state[kind])
