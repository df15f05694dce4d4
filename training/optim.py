"""Optimisers (SGD, LAMB, AdamW), their learning rate, and the average of the weights kept beside them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from foundation.errors import UserError
from training.config import require_between, require_positive


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """The defaults are those of He et al. 2015, §3.4.

    Attributes:
        kind: optimiser; "lamb", for very large batches, needs timm.
        lr: peak learning rate, stated for reference_batch pictures and scaled to batch_size: linearly with
            "sgd", by the square root with "lamb" and "adamw" (`scaled_lr`).
        momentum: of SGD; LAMB and AdamW take it as beta1, and 0.999 as beta2.
        nesterov: Nesterov's form of momentum, with "sgd" alone.
        weight_decay: factor of the decay of weights.
        decay_norm_and_bias: also decays biases and the parameters of normalisation, as the paper; false
            leaves them alone, as most recipes since.
        batch_size: pictures a step, over all processes and micro-batches.
        reference_batch: the batch size that lr is stated for; another batch_size needs no other lr.
        accumulate: micro-batches that a process's share of a batch is computed in, one after the other; raise
            it where a batch does not fit into memory.
        clip_norm: norm that larger gradients are scaled down to; null leaves them as they are.
        ema_decay: decay of the running average of the weights that is evaluated and saved in their place, for
            instance 0.9999; null keeps none (see `WeightAverage`).
    """

    kind: Literal["sgd", "lamb", "adamw"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_norm_and_bias: bool = True
    batch_size: int = 256
    reference_batch: int = 256
    accumulate: int = 1
    clip_norm: float | None = None
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        require_positive(self, "lr", "batch_size", "reference_batch", "accumulate", "clip_norm")
        require_between(self, 0, 1, "momentum")
        require_between(self, 0, math.inf, "weight_decay")
        if self.nesterov and (self.kind != "sgd" or self.momentum == 0):
            raise ValueError(
                f"nesterov belongs to kind sgd with momentum, got {self.kind} and momentum {self.momentum}"
            )
        if self.kind != "sgd" and self.momentum == 1:
            raise ValueError(f"momentum is beta1 of {self.kind} and must be below 1, got {self.momentum}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must be between 0 and 1, for instance 0.9999, got {self.ema_decay}")


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
    rule = "linearly (Goyal et al. 2017)" if config.kind == "sgd" else "by the square root (You et al. 2020)"
    return f"{sentence}: {config.lr:g} per {config.reference_batch}, scaled {rule}"


def build_optimizer(model: nn.Module, config: OptimConfig) -> Optimizer:
    """The optimiser over the parameters that require gradients.

    With `decay_norm_and_bias` False, biases and normalisation parameters (those of one dimension) are not
    decayed; the paper decays all.

    Raises:
        UserError: LAMB is asked for, and timm, which has it, is not installed.
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
    try:
        from timm.optim import Lamb  # You et al. 2020; torch has none
    except ModuleNotFoundError:
        raise UserError(
            'optim.kind=lamb is timm\'s; install it with pip install "residual-backbones[timm]", or use '
            "optim.kind=sgd or adamw"
        ) from None
    # timm's would clip gradients on its own; here optim.clip_norm does.
    return Lamb(groups, lr=lr, betas=betas, weight_decay=decay, max_grad_norm=None)


class WeightAverage:
    """avg <- d avg + (1 - d) weights after every step, of all a model's parameters and buffers.

    The running averages of batch normalisation are averaged as the weights are, since they belong to them;
    integers, such as counters, are copied. The decay d of the n-th step (1 is the first) is
    min(decay, (1 + n) / (10 + n)), so that a short training is not an average of its beginning.

    Everything stays on the device, and addresses do not change: no step waits for the host, and a step may be
    captured in a CUDA graph. Every process of a run keeps its own. The model is the network itself, on its
    device, not its DDP form.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.steps = torch.zeros((), dtype=torch.int64, device=next(model.parameters()).device)
        self.averages = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the model's weights; called once after every optimiser step."""
        self.steps += 1
        weight = (9 / (10 + self.steps)).clamp(min=1 - self.decay)  # 1 - d, without float64, which mps lacks
        averages, values = [], []
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                averages.append(self.averages[name])
                values.append(value)
            else:
                self.averages[name].copy_(value)
        changes = torch._foreach_sub(values, averages)
        torch._foreach_mul_(changes, weight)
        torch._foreach_add_(averages, changes)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the model holds the averages; after it its own weights again, to the bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.model.state_dict().items():
            kept = value.clone()
            value.copy_(self.averages[name])
            self.averages[name].copy_(kept)

    def state_dict(self) -> dict[str, Tensor | dict[str, Tensor]]:
        """What a checkpoint holds."""
        return {"steps": self.steps, "averages": self.averages}

    def load_state_dict(self, content: dict) -> None:
        """Goes back to where `state_dict` was taken."""
        self.steps.copy_(content["steps"])
        for name, value in self.averages.items():
            value.copy_(content["averages"][name])
