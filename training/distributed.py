"""Several processes under torchrun: who am I, and how results come together. One process needs nothing."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

Value = TypeVar("Value")


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
    """Joins torchrun's processes for as long as the block runs: NCCL between GPUs, gloo between CPUs."""
    if world_size() == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
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


def broadcast_buffers(model: nn.Module) -> None:
    """Gives every process the buffers of process 0, such as its running averages of batch normalisation."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def broadcast_object(value: Value) -> Value:
    """Process 0's value, in every process."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]
