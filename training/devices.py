"""Which device a process computes on, and what the processes of a run tell each other."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from foundation.errors import UserError, suggest

Value = TypeVar("Value")
Module = TypeVar("Module", bound=nn.Module)


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


def on_device(module: Module, device: str | torch.device | None, configured: str) -> Module:
    """The module, moved to a device, or where None is given to the one that `run.device` configures.

    Raises:
        UserError: there is no such device.
    """
    place = resolve_device(configured) if device is None else device
    try:
        return module.to(place)
    except (RuntimeError, AssertionError) as error:  # torch's of names, and of GPUs that are not there
        raise UserError(f"device {place} cannot be used ({error}); leave it out, or give 'cpu'") from error


def emulates_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed without hardware for it, as on CPUs without AVX-512: slower than fp32."""
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")


def rank() -> int:
    """This process's number, from torchrun; 0 without it."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes files and reports."""
    return rank() == 0


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins torchrun's processes for as long as the block runs: NCCL between GPUs, gloo between CPUs.

    With GPUs gloo carries what lies on the host, so that no GPU waits for it.
    """
    if world_size() == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def wrap(model: nn.Module) -> nn.Module:
    """The model itself, or its DDP form that averages gradients over the processes.

    Batch normalisation that trains keeps per-process statistics; those of process 0 are the ones kept.
    """
    return DistributedDataParallel(model) if world_size() > 1 else model


def gather_objects(value: Value) -> list[Value]:
    """Every process's value, in order of rank, in every process."""
    if world_size() == 1:
        return [value]
    values: list[Value | None] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]


def mean_over_processes(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean of every process's scalars, by name, in every process."""
    if world_size() == 1:
        return dict(values)
    shares = gather_objects({name: value.item() for name, value in values.items()})
    return {
        name: torch.full_like(value, sum(share[name] for share in shares) / len(shares))
        for name, value in values.items()
    }


def broadcast_buffers(model: nn.Module) -> None:
    """Gives every process the buffers of process 0, such as its running averages of batch normalisation."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process, known to all of them."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag))
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags)


def broadcast_object(value: Value) -> Value:
    """Process 0's value, in every process."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]
