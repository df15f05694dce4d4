"""Batch normalisation fixed, folded into convolutions, or estimated anew (He et al. 2015, appendix A)."""

import copy
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.networks.frozen_norm import DEFAULT_EPS, FrozenBatchNorm2d
from backbones.networks.fused_blocks import fuse_convolutions
from foundation.errors import OptionError

Network = TypeVar("Network", bound=nn.Module)


def freeze_batchnorm(module: nn.Module) -> nn.Module:
    """Replaces every batch normalisation in the module by a frozen one with the same values, in place.

    Returns:
        The module; a new one if it is itself a batch normalisation.
    Raises:
        OptionError: a subclass of batch normalisation that may do more (timm's applies its ReLU), or one
            without statistics or affine part.
    """
    if not isinstance(module, _BatchNorm):
        for name, child in module.named_children():
            setattr(module, name, freeze_batchnorm(child))
        return module
    if type(module) not in (nn.BatchNorm2d, nn.SyncBatchNorm):
        raise OptionError(
            f"cannot freeze {type(module).__name__}, which may do more than normalise; "
            "put nn.BatchNorm2d or nn.SyncBatchNorm in its place first"
        )
    if not (module.affine and module.track_running_stats):
        raise OptionError(f"cannot freeze {module}: it needs affine=True and track_running_stats=True")
    frozen = FrozenBatchNorm2d(module.num_features, module.eps)
    frozen.copy_from(module)
    return frozen


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


def lacks_statistics(model: nn.Module) -> bool:
    """Whether trainable normalisation holds a scale and a shift alone, as in MSRA's weights converted.

    Such a network computes what it should, but its first step of training, which normalises by statistics,
    makes another one of it.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    variances = [norm.running_var for norm in norms if norm.running_var is not None]
    return any(bool(((var - (1 - DEFAULT_EPS)).abs() < 1e-7).all()) for var in variances)


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
        pairs = pairwise(dict(module.named_children())) if type(module) is nn.Sequential else ()
        for conv, norm in (*getattr(module, "folds", ()), *pairs):
            first, second = module.get_submodule(conv), module.get_submodule(norm)
            foldable = type(first) is nn.Conv2d and type(second) in _NORMS  # no subclass: it may do more
            if foldable and second.weight is not None and second.running_mean is not None:
                _fold(first, second)
                module.set_submodule(norm, nn.Identity().eval())
    return folded


def folded_copy(network: Network) -> Network:
    """A copy that answers faster than the network, to rounding alike, made of the same blocks.

    Normalisation is folded (see `fold_batchnorm`), and on a CPU convolutions compute in channels_last.

    Args:
        network: in any mode, which it keeps; any module that holds our networks, such as a detector.
    """
    was_training = network.training
    folded = fold_batchnorm(network.eval())
    network.train(was_training)
    if next(network.parameters()).device.type == "cpu":
        folded.to(memory_format=torch.channels_last)
    return folded


def inference_copy(network: Network) -> Network:
    """A `folded_copy` that is faster still on a CPU, where convolutions also add and activate.

    Its blocks are other modules (`backbones.networks.fused_blocks`), with parameters of other names.
    """
    folded = folded_copy(network)
    if next(network.parameters()).device.type == "cpu":
        fuse_convolutions(folded)
    return folded


def _fold(conv: Any, norm: Any) -> None:
    """In double precision, since rounding would add up over a hundred layers; on the host, for mps."""
    mean, var, weight, bias = (
        getattr(norm, name).cpu().double() for name in ("running_mean", "running_var", "weight", "bias")
    )
    scale, before = weight / (var + norm.eps).sqrt(), conv.weight
    shift = bias + ((0 if conv.bias is None else conv.bias.cpu().double()) - mean) * scale
    scaled = before.cpu().double() * scale[:, None, None, None]
    for name, value in (("weight", scaled), ("bias", shift)):
        folded = value.to(before.dtype).to(before.device)
        setattr(conv, name, nn.Parameter(folded, requires_grad=False))


@torch.no_grad()
def calibrate_batchnorm(model: nn.Module, batches: Iterable[Any]) -> None:
    """Sets the statistics of every batch normalisation, frozen or not, to their averages over the batches.

    The paper does so before it fixes them for detection (appendix A); it also makes frozen normalisation
    usable with random weights. Every batch counts alike, so give batches of equal size. The model runs in
    eval mode except that each normalisation uses its batch's own statistics; layers the model does not
    reach, or without statistics, stay as they are.

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
            layer.handle.remove()
            layer.set_statistics(*layer.before)
    if not num_batches:
        raise OptionError("calibration got no batch; give at least one")
    for layer in layers:
        if layer.count:
            layer.set_statistics(layer.mean, layer.var)


class _Calibration:
    """Averages one layer's batch statistics; while hooked it normalises each batch with its own."""

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
        self.set_statistics(mean, var)
        self.count += 1
        self.mean += (mean - self.mean) / self.count
        self.var += (var * values / (values - 1) - self.var) / self.count  # unbiased, as torch records it

    def set_statistics(self, mean: Tensor, var: Tensor) -> None:
        self.norm.running_mean.copy_(mean)
        self.norm.running_var.copy_(var)
