"""Which device a process computes on."""

import os

import torch

from foundation.errors import UserError, suggest


def resolve_device(name: str) -> torch.device:
    """The device that "auto" (a GPU where there is one), "cpu" or "cuda" means for this process.

    Under torchrun every process of a machine takes the GPU of its LOCAL_RANK, and makes it current.

    Raises:
        UserError: unknown name, no GPU, or fewer GPUs than processes.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"run.device {name!r} is unknown{suggest(name, ['auto', 'cpu', 'cuda'])}")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    index, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if index >= count:
        raise UserError(
            f"run.device {name!r} needs a GPU for process {index} of this machine, but torch finds {count}; "
            f"{f'start at most {count} processes, or ' if count else ''}use run.device=cpu"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def emulates_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed without hardware for it, as on CPUs without AVX-512: slower than fp32."""
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
