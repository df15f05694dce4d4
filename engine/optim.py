"""The optimiser of the paper: SGD with momentum and weight decay."""

from typing import Any

from torch import nn
from torch.optim import SGD

from engine.config import OptimConfig


def scaled_lr(config: OptimConfig) -> float:
    """The peak learning rate: `config.lr`, stated per reference batch, scaled linearly to the batch size."""
    return config.lr * config.batch_size / config.reference_batch


def describe_lr(config: OptimConfig) -> str:
    """One sentence for the log on the learning rate and how it came about."""
    sentence = f"learning rate {scaled_lr(config):g} for batches of {config.batch_size}"
    if config.batch_size == config.reference_batch:
        return f"{sentence}, as stated"
    return f"{sentence}: {config.lr:g} per {config.reference_batch}, scaled linearly (Goyal et al. 2017)"


def build_optimizer(model: nn.Module, config: OptimConfig) -> SGD:
    """SGD over the parameters that require gradients.

    With `decay_norm_and_bias` False, biases and normalisation parameters (those of one dimension) are not
    decayed; the paper decays all.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": parameters}]
    if not config.decay_norm_and_bias:
        groups = [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
    return SGD(groups, lr=scaled_lr(config), momentum=config.momentum, weight_decay=config.weight_decay)
