"""Parameters and multiply-adds, counted as in the paper's Tables 1 and 6."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


@dataclass(frozen=True)
class LayerRow:
    """One convolution or linear layer: output shape of one picture, weights and biases, multiply-adds."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int


def count_parameters(model: nn.Module) -> int:
    """Weights and biases, those of batch normalisation included (not when frozen: those are buffers)."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Multiply-adds of one picture of image_size² pixels, in convolutions and linear layers alone.

    This is the paper's count ("FLOPs" of Table 1): a multiplication and its addition are one; batch
    normalisation, ReLU, pooling and shortcut additions are left out.
    """
    return sum(row.multiply_adds for row in layer_table(model, image_size))


def layer_table(model: nn.Module, image_size: int) -> list[LayerRow]:
    """The convolutions and linear layers in the order in which they run.

    Nothing is computed: the model's shapes for one picture of image_size² pixels alone are run, on torch's
    meta device, and its values stay untouched.
    """
    rows: list[LayerRow] = []

    def record(name: str, layer: Any, inputs: Any, output: Tensor) -> None:
        # The weight of one output channel is applied once for every output value.
        per_picture, shape = output[0].numel() * layer.weight[0].numel(), tuple(output.shape[1:])
        rows.append(LayerRow(name, type(layer).__name__, shape, count_parameters(layer), per_picture))

    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(partial(record, name)) for name, layer in layers]
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    modes = {module: module.training for module in model.modules()}
    model.eval()  # batch normalisation in training refuses one value per channel
    try:
        with torch.no_grad():
            functional_call(model, shapes, torch.empty(1, 3, image_size, image_size, device="meta"))
    finally:
        for module, training in modes.items():
            module.training = training
        for handle in handles:
            handle.remove()
    return rows
