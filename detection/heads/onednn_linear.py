"""Fully connected layers that oneDNN computes on a CPU with AVX-512."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OneDnnLinear(nn.Linear):
    """What nn.Linear gives, to rounding, forward and backward: (R, in_features) → (R, out_features).

    There the matrices are multiplied by MKL, which leaves AVX-512 alone on processors that are not Intel's:
    oneDNN takes half of its time. Half precision, tracing, torch.func, other devices and other CPUs get
    nn.Linear's.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _Linear.apply(x, self.weight, self.bias) if _applies(x, self.weight) else super().forward(x)


def _applies(x: Tensor, weight: Tensor) -> bool:
    traced = not isinstance(x, Tensor) or torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced or torch._C._are_functorch_transforms_active() or torch.is_autocast_enabled("cpu"):
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    here = (
        x.device.type == weight.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512"
    )
    fits = x.shape[1:] == weight.shape[1:] and x.numel() > 0  # else nn.Linear says what does not
    return here and fits and x.dtype == weight.dtype == torch.float32


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        context.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        of_x, of_weight, of_bias = context.needs_input_grad
        # Gradients are on where these get gradients of their own, which oneDNN's product has not.
        product = F.linear if torch.is_grad_enabled() else _product
        return (
            product(gradient, weight.t()) if of_x else None,
            product(gradient.t(), x.t()) if of_weight else None,
            gradient.sum(dim=0) if of_bias else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x · weightᵀ + bias; oneDNN takes transposed views as they are."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
