"""Batch normalisation with fixed values, and convolutions that do its work while they are trained."""

from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import _has_any_global_hook

DEFAULT_EPS = 1e-5  # torch's, which headers state where nothing else is known


@torch.fx.wrap  # symbolic tracing takes it as one operation, since which way it goes is not known there
def _normalise(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, *, eps: float) -> Tensor:
    # torch.jit.trace runs once with gradients and once without, and wants the same operations.
    if x.requires_grad and x.dtype == weight.dtype == torch.float32 and not torch.jit.is_tracing():
        # F.batch_norm would keep x for gradients nobody asks for: a third more memory, 6 % more time.
        scale, shift = _affine(weight, bias, mean, var, eps)
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None])
    return F.batch_norm(x, mean, var, weight, bias, eps=eps)


def _affine(weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The factor and the shift (C,) that fixed normalisation is."""
    scale = weight * (var + eps).rsqrt()
    return scale, bias - mean * scale


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation with fixed statistics and fixed affine part, all of them buffers.

    Equal to `nn.BatchNorm2d` in eval mode. Its start, identity statistics, explodes behind random weights:
    load weights, or run `calibrate_batchnorm`.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = DEFAULT_EPS) -> None:
        super().__init__()
        self.num_features, self.eps = num_features, eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            values = torch.zeros if name in ("bias", "running_mean") else torch.ones
            self.register_buffer(name, values(num_features))

    def copy_from(self, norm: _BatchNorm) -> None:
        """Takes over values and mode."""
        for name in ("weight", "bias", "running_mean", "running_var"):
            setattr(self, name, getattr(norm, name).detach().clone())
        self.train(norm.training)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(prefix + "num_batches_tracked", None)  # a counter that only trainable statistics have
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor) -> Tensor:
        return _normalise(x, self.weight, self.bias, self.running_mean, self.running_var, eps=self.eps)

    def affine(self) -> tuple[Tensor, Tensor]:
        """The factor and the shift (C,) of every channel."""
        return _affine(self.weight, self.bias, self.running_mean, self.running_var, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


def convolve(conv: Any, norm: Any, x: Tensor) -> Tensor:
    """What norm(conv(x)) gives, to rounding.

    In training the convolution does the work of frozen normalisation: conv(x) · s + t has the weights s · w
    and the bias t. That saves a pass over the activations forward and backward; the gradient of w comes
    through the small product. Without gradients, in tracing, where hooks watch and in float32 on a CPU one
    follows the other.
    """
    if not _folds(conv, norm, x):
        return norm(conv(x))
    scale, shift = norm.affine()
    weight = conv.weight * scale[:, None, None, None]
    return F.conv2d(x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups)


def _folds(conv: Any, norm: Any, x: Tensor) -> bool:
    if type(conv) is not nn.Conv2d or type(norm) is not FrozenBatchNorm2d:  # a subclass may do more
        return False
    tracing = not isinstance(x, Tensor) or torch.jit.is_tracing() or torch.compiler.is_exporting()
    if tracing or not torch.is_grad_enabled():
        return False
    if x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
        return False  # as fast, and the products s · w would be kept beside all that is kept anyway
    simple = conv.bias is None and conv.padding_mode == "zeros" and conv.weight.dtype == norm.weight.dtype
    return simple and not _is_watched(conv) and not _is_watched(norm)


def _is_watched(module: nn.Module) -> bool:
    """Whether hooks, of the module or of all modules, want to see what goes in or out."""
    hooks = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    return bool(_has_any_global_hook()) or any(getattr(module, name) for name in hooks)
