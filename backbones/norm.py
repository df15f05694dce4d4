"""Batch normalisation fixed, folded into convolutions, or estimated anew (He et al. 2015, appendix A)."""

import copy
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from foundation.errors import OptionError

DEFAULT_EPS = 1e-5  # torch's, which headers state where nothing else is known
Network = TypeVar("Network", bound=nn.Module)


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation with fixed statistics and fixed affine part, all of them buffers.

    Equal to `nn.BatchNorm2d` in eval mode. Its start, identity statistics, explodes behind random weights:
    load weights, or run `calibrate_batchnorm`.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(prefix + "num_batches_tracked", None)  # a counter that only trainable statistics have
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad and x.dtype == self.weight.dtype == torch.float32:
            # F.batch_norm would keep x for gradients nobody asks for: a third more memory, 6 % more time.
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            shift = self.bias - self.running_mean * scale
            return torch.addcmul(shift[:, None, None], x, scale[:, None, None])
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


def freeze_batchnorm(module: nn.Module) -> nn.Module:
    """Replaces every batch normalisation in the module by a frozen one with the same values, in place.

    Returns:
        The module; a new one if it is itself a batch normalisation.
    Raises:
        OptionError: a subclass of batch normalisation that may do more (timm's applies its ReLU), or one
            without statistics or affine part.
    """
    if isinstance(module, _BatchNorm):
        return _frozen(module)
    for name, child in module.named_children():
        setattr(module, name, freeze_batchnorm(child))
    return module


def _frozen(norm: _BatchNorm) -> FrozenBatchNorm2d:
    if type(norm) not in (nn.BatchNorm2d, nn.SyncBatchNorm):
        raise OptionError(
            f"cannot freeze {type(norm).__name__}, which may do more than normalise; "
            "put nn.BatchNorm2d or nn.SyncBatchNorm in its place first"
        )
    if not (norm.affine and norm.track_running_stats):
        raise OptionError(f"cannot freeze {norm}: it needs affine=True and track_running_stats=True")
    frozen = FrozenBatchNorm2d(norm.num_features, norm.eps)
    for name in frozen.state_dict():
        setattr(frozen, name, getattr(norm, name).detach().clone())
    return frozen.train(norm.training)


def norm_eps(model: nn.Module) -> float:
    """The epsilon that all batch normalisation of a model, frozen or not, has in common.

    Returns:
        torch's default where the model has no batch normalisation (VGG).
    Raises:
        OptionError: several differ.
    """
    found = {module.eps for module in model.modules() if isinstance(module, _BatchNorm | FrozenBatchNorm2d)}
    if len(found) > 1:
        raise OptionError(f"expected batch normalisation with one epsilon, found {sorted(found)}")
    return found.pop() if found else DEFAULT_EPS


def set_norm_eps(model: nn.Module, eps: float) -> None:
    """Gives all batch normalisation of a model, frozen or not, the epsilon its weights were trained with."""
    for module in model.modules():
        if isinstance(module, _BatchNorm | FrozenBatchNorm2d):
            module.eps = eps


_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)


@torch.no_grad()
def fold_batchnorm(network: Network) -> Network:
    """A copy for inference whose convolutions do the work of the batch normalisation right behind them.

    conv(x) · s + t has the weights s · w and the bias s · b + t. Which normalisation follows which
    convolution is said by the modules' `folds` (pairs of child names) and by the order in an `nn.Sequential`;
    it becomes the identity. In pre-activation networks normalisation that follows an addition stays.

    Args:
        network: in eval mode; any module that holds our networks, such as a detector.
    Returns:
        The copy, in eval mode, its parameters without gradient and of other names: save weights before.
    Raises:
        OptionError: the network is in training mode.
    """
    if any(module.training for module in network.modules()):
        raise OptionError("folded normalisation cannot be trained; call eval() on the network first")
    folded = copy.deepcopy(network).requires_grad_(False)
    for module in list(folded.modules()):
        # A compiled module's own `forward` is copied as it is, and would run the original.
        module.__dict__.pop("forward", None)
        for conv, norm in _pairs_to_fold(module):
            _fold(module.get_submodule(conv), module.get_submodule(norm))
            module.set_submodule(norm, nn.Identity().eval())
    return folded


def _pairs_to_fold(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of a convolution and the normalisation behind it, among a module's children."""
    pairs = pairwise(dict(module.named_children())) if type(module) is nn.Sequential else ()
    for conv, norm in (*getattr(module, "folds", ()), *pairs):
        first, second = module.get_submodule(conv), module.get_submodule(norm)
        foldable = type(first) is nn.Conv2d and type(second) in _NORMS  # no subclass: it may do more
        if foldable and second.weight is not None and second.running_mean is not None:
            yield conv, norm


def _fold(conv: Any, norm: Any) -> None:
    """In double precision, since rounding would add up over a hundred layers."""
    mean, var, weight, bias = (
        getattr(norm, name).double() for name in ("running_mean", "running_var", "weight", "bias")
    )
    scale = weight / (var + norm.eps).sqrt()
    before = 0 if conv.bias is None else conv.bias.double()
    dtype = conv.weight.dtype
    shift = bias + (before - mean) * scale
    conv.weight = nn.Parameter(
        (conv.weight.double() * scale[:, None, None, None]).to(dtype), requires_grad=False
    )
    conv.bias = nn.Parameter(shift.to(dtype), requires_grad=False)


@torch.no_grad()
def calibrate_batchnorm(model: nn.Module, batches: Iterable[Any]) -> None:
    """Sets the statistics of every batch normalisation, frozen or not, to their averages over the batches.

    Replaces the moving averages of training by true averages, as the paper does before it fixes them for
    detection (appendix A), and makes frozen normalisation usable with random weights. Every batch counts
    alike, so give batches of equal size. The model runs in eval mode except that each normalisation uses its
    batch's own statistics, as in training; layers the model does not reach, or without statistics, stay as
    they are.

    Args:
        model: called as `model(batch)`.
        batches: what the model takes, on its device; at least one.
    Raises:
        OptionError: no batch, or a batch with one value per channel, which has no variance.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm | FrozenBatchNorm2d)]
    layers = [_Calibration(norm) for norm in norms if norm.running_mean is not None]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    num_batches = 0
    try:
        for batch in batches:
            model(batch)
            num_batches += 1
    finally:
        for module, training in modes.items():
            module.training = training
        for layer in layers:
            layer.restore()
    if not num_batches:
        raise OptionError("calibration got no batch; give at least one")
    for layer in layers:
        layer.apply()


class _Calibration:
    """Averages one layer's batch statistics; until `restore` the layer normalises each batch with its own."""

    def __init__(self, norm: Any) -> None:
        self.norm = norm
        self.before = norm.running_mean.clone(), norm.running_var.clone()
        self.mean, self.var = torch.zeros_like(norm.running_mean), torch.zeros_like(norm.running_var)
        self.count = 0
        self.handle = norm.register_forward_pre_hook(self.record)

    def record(self, norm: nn.Module, inputs: tuple[Tensor]) -> None:
        values = inputs[0].numel() // self.norm.num_features
        if values < 2:
            raise OptionError("calibration needs more than one value per channel: larger pictures or batches")
        var, mean = torch.var_mean(inputs[0].float(), (0, *range(2, inputs[0].ndim)), correction=0)
        self.norm.running_mean.copy_(mean)
        self.norm.running_var.copy_(var)
        self.count += 1
        self.mean += (mean - self.mean) / self.count
        self.var += (var * values / (values - 1) - self.var) / self.count  # unbiased, as torch records it

    def restore(self) -> None:
        self.handle.remove()
        self.norm.running_mean.copy_(self.before[0])
        self.norm.running_var.copy_(self.before[1])

    def apply(self) -> None:
        if self.count:
            self.norm.running_mean.copy_(self.mean)
            self.norm.running_var.copy_(self.var)
