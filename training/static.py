"""Tensors of a function's inputs, alone or in dataclasses, and memory of the same shapes for them."""

from collections.abc import Hashable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor


def tensors(value: Any) -> dict[str, Tensor]:
    """Those of a dataclass by field; a tensor itself has no name."""
    if isinstance(value, Tensor):
        return {"": value}
    content = {part.name: getattr(value, part.name) for part in fields(value)}
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def signature(value: Any) -> Hashable:
    """Names, shapes and types of its tensors."""
    return tuple((name, tensor.shape, tensor.dtype) for name, tensor in tensors(value).items())


def empty_like(value: Any, device: torch.device) -> Any:
    """The same with other memory, on the device, for its tensors."""
    memory = {name: torch.empty_like(tensor, device=device) for name, tensor in tensors(value).items()}
    return memory[""] if isinstance(value, Tensor) else replace(value, **memory)


def copy_into(target: Tensor, source: Tensor) -> None:
    """Without waiting: the host may be launches ahead. torch keeps pinned memory until it has been read."""
    if target.is_cuda and not source.is_cuda and not source.is_pinned():
        source = source.pin_memory()
    target.copy_(source, non_blocking=True)
