"""Optimisers: the paper's SGD with momentum and weight decay, LAMB and AdamW."""

from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from foundation.errors import UserError
from training.config import OptimConfig

SCALING = {
    "sgd": "scaled linearly (Goyal et al. 2017)",
    "lamb": "scaled by the square root (You et al. 2020)",
    "adamw": "scaled by the square root (You et al. 2020)",
}


def scaled_lr(config: OptimConfig) -> float:
    """The peak learning rate: `config.lr`, stated per reference batch, scaled to the batch size.

    SGD scales linearly. LAMB and AdamW divide gradients by their own size, and scale by the square root.
    """
    if config.kind == "sgd":
        return config.lr * config.batch_size / config.reference_batch
    return config.lr * (config.batch_size / config.reference_batch) ** 0.5


def describe_lr(config: OptimConfig) -> str:
    """One sentence for the log on the learning rate and how it came about."""
    name = "" if config.kind == "sgd" else f"{config.kind}, "
    sentence = f"{name}learning rate {scaled_lr(config):g} for batches of {config.batch_size}"
    if config.batch_size == config.reference_batch:
        return f"{sentence}, as stated"
    return f"{sentence}: {config.lr:g} per {config.reference_batch}, {SCALING[config.kind]}"


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """The optimiser over the parameters that require gradients.

    With `decay_norm_and_bias` False, biases and normalisation parameters (those of one dimension) are not
    decayed; the paper decays all.

    Raises:
        UserError: LAMB is asked for and timm, whose it is, is not installed.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": parameters}]
    if not config.decay_norm_and_bias:
        groups = [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
    lr, decay = scaled_lr(config), config.weight_decay
    if config.kind == "sgd":
        return SGD(groups, lr=lr, momentum=config.momentum, weight_decay=decay, nesterov=config.nesterov)
    betas = (config.momentum, 0.999)
    if config.kind == "adamw":
        return AdamW(groups, lr=lr, betas=betas, weight_decay=decay)
    # timm's would clip gradients on its own; here optim.clip_norm does.
    return lamb_class()(groups, lr=lr, betas=betas, weight_decay=decay, max_grad_norm=None)


def lamb_class() -> Any:
    """timm's LAMB (You et al. 2020); torch has none."""
    try:
        from timm.optim import Lamb
    except ModuleNotFoundError:
        raise UserError(
            'optim.kind=lamb is timm\'s; install it with pip install "residual-backbones[timm]", or use '
            "optim.kind=sgd or adamw"
        ) from None
    return Lamb
