"""Which device a process computes on, and what the processes of a run tell each other."""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from foundation.errors import UserError
from training.config import device_parts

logger = logging.getLogger(__name__)

Value = TypeVar("Value")
Module = TypeVar("Module", bound=nn.Module)

PREFERENCE = ("cuda", "xpu", "mps", "cpu")  # "auto" is the first of them that is there
STREAMED = ("cuda", "xpu")  # copies to and from them may run while the host goes on
UNTRIED = ("xpu", "mps")  # nobody has run this toolkit there yet


def resolve_device(name: str, *, float64: bool = False) -> torch.device:
    """The device that `run.device` means for this process, which becomes torch's current one of its kind.

    "auto" is a GPU where there is one: CUDA's, else Intel's (xpu), else Apple's (mps). Under torchrun every
    process of a machine takes the GPU of its LOCAL_RANK.

    Args:
        name: "auto", "cpu", "mps", "cuda" or "xpu", the last two also with a number, as "cuda:1".
        float64: the device must have this type; "auto" passes over those that lack it.
    Raises:
        UserError: unknown name, no such device, fewer devices than processes, or one that cannot do this.
    """
    kind, number = device_parts(name)
    if kind == "auto":
        kind = next(kind for kind in PREFERENCE if _serves(kind, float64))
    if kind == "cpu":
        return torch.device("cpu")
    _refuse_processes(name, kind, number)
    index = int(os.environ.get("LOCAL_RANK", "0")) if number is None else number
    module = torch.get_device_module(kind)
    _refuse_missing(name, kind, number, index, module.device_count())
    device = torch.device(kind, index)
    if float64 and not has_float64(device):
        raise UserError(f"this computes in float64, which {device} lacks; use run.device=cpu")
    if kind in STREAMED:
        module.set_device(index)
    if kind in UNTRIED:
        _warn_untried(device)
    return device


def _serves(kind: str, float64: bool) -> bool:
    """Whether "auto" may choose this kind."""
    if kind == "cpu":
        return True
    if not torch.get_device_module(kind).is_available() or (kind == "mps" and world_size() > 1):
        return False
    return not float64 or has_float64(torch.device(kind, 0))


def _refuse_processes(name: str, kind: str, number: int | None) -> None:
    """Raises UserError where several processes of torchrun cannot share out what was named."""
    if world_size() == 1:
        return
    if number is not None:
        raise UserError(
            f"run.device {name!r} names one GPU, but torchrun started {world_size()} processes, and each "
            f"takes its own; use run.device={kind}"
        )
    if kind == "mps":
        raise UserError(
            f"run.device 'mps' is for one process, since torch has no process group for it, but torchrun "
            f"started {world_size()}; start one, or use run.device=cpu"
        )


def _refuse_missing(name: str, kind: str, number: int | None, index: int, count: int) -> None:
    """Raises UserError where there are too few devices for number `index`."""
    if index < count:
        return
    needs = f"a GPU for process {index} of this machine" if number is None else f"GPU number {number}"
    some = (
        f"start at most {count} processes"
        if number is None
        else f"name one from {kind}:0 to {kind}:{count - 1}"
    )
    raise UserError(
        f"run.device {name!r} needs {needs}, but torch finds {count} of {kind}; "
        f"{f'{some}, or ' if count else ''}use run.device=cpu"
    )


@cache
def _warn_untried(device: torch.device) -> None:
    logger.warning(
        "nobody has run this toolkit on %s yet; compare the losses of a few steps with run.device=cpu before "
        "you trust a training there",
        device,
    )


def has_float64(device: torch.device) -> bool:
    """Whether the device computes in double precision: Apple's GPUs do not, and not all of Intel's."""
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type != "mps"


def has_kernel(operator: str, device: torch.device) -> bool:
    """Whether an operator, such as "torchvision::nms", is compiled for this kind of device."""
    key = torch._C._dispatch_key_for_device(device.type)
    return torch._C._dispatch_has_kernel_for_dispatch_key(operator, key)


def convolution_layout(device: torch.device, channels_last: bool) -> torch.memory_format:
    """The memory format that `run.channels_last` means there.

    On mps always torch's usual one: batch normalisation in channels_last has had wrong gradients there
    (pytorch/pytorch issue 175189).
    """
    return torch.channels_last if channels_last and device.type != "mps" else torch.contiguous_format


def send(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on a device, without waiting for the copy where memory is pinned and its order is kept.

    On mps a copy that is not waited for may read memory that has been given away by then (pytorch/pytorch
    issue 189690).
    """
    return tensor.to(device, non_blocking=torch.device(device).type in STREAMED)


def fetch(tensors: Iterable[Tensor]) -> tuple[list[Tensor], Callable[[], None]]:
    """Starts to copy tensors of one device to the host.

    Returns:
        The copies, and what waits until they can be read.
    """
    values = list(tensors)
    if not values or values[0].device.type not in STREAMED:
        return [value.to("cpu") for value in values], lambda: None
    copies = [value.to("cpu", non_blocking=True) for value in values]
    copied = torch.get_device_module(values[0].device.type).Event()
    copied.record()
    return copies, copied.synchronize


def on_device(module: Module, device: str | torch.device | None, configured: str) -> Module:
    """The module, moved to a device, or where None is given to the one that `run.device` configures.

    Copies for inference on a CPU are in channels_last (`backbones.norm.inference_copy`), other devices get
    torch's usual layout.

    Raises:
        UserError: there is no such device.
    """
    place = resolve_device(configured) if device is None else device
    try:
        moved = module.to(place)
    except (RuntimeError, AssertionError) as error:  # torch's of names, and of GPUs that are not there
        raise UserError(f"device {place} cannot be used ({error}); leave it out, or give 'cpu'") from error
    return moved if torch.device(place).type == "cpu" else moved.to(memory_format=torch.contiguous_format)


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
    """Joins torchrun's processes for as long as the block runs.

    NCCL joins CUDA's GPUs, XCCL Intel's, gloo CPUs. With GPUs gloo carries what lies on the host, so that no
    GPU waits for it.
    """
    if world_size() == 1 or dist.is_initialized():
        yield
        return
    between_gpus = {"cuda": "nccl", "xpu": "xccl"}.get(device.type)
    dist.init_process_group(f"cpu:gloo,{device.type}:{between_gpus}" if between_gpus else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def wrap(model: nn.Module, *, parts_rest: bool = False) -> nn.Module:
    """The model itself, or its DDP form that averages gradients over the processes.

    Batch normalisation that trains keeps per-process statistics; those of process 0 are the ones kept.

    Args:
        parts_rest: steps may leave parameters unused, which DDP then looks for.
    """
    if world_size() == 1:
        return model
    # Of a 1x1 kernel that computes as a matrix, in channels_last. The strides differ where a side is 1, so
    # that the elements lie alike; the warning is of speed, and nobody could act on it.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(model, find_unused_parameters=parts_rest)


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
