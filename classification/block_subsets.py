"""Training with a random subset of the residual blocks in every batch (Huang et al. 2016; Veit et al. 2016).

A block that is left out of a step is bypassed: its shortcut alone remains, nothing of its residual is
computed, and its gradient is zero, so that momentum and weight decay go on. Which blocks those are follows
from the run's seed and the step alone, so that a run that is continued, and every process of several, draws
the same.

What is evaluated and saved has all blocks, each residual times its block's probability to be trained with
(Huang et al. 2016, §3). Those factors are multiplied into the layers that end the residuals, so the weights
that are saved are a plain network's.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from backbones.lesion import find_blocks, without_blocks
from backbones.spec import Network
from foundation.errors import UserError
from training.config import require_between
from training.seeding import item_seed

_EPOCH = -2  # of the draws' seeds: pictures have epochs from 0 on, processes -1


@dataclass(frozen=True)
class BlocksConfig:
    """With how many of its residual blocks a network is trained in a batch; all of them unless one is given.

    Attributes:
        kept: number of blocks, drawn anew for every batch, each as likely as any other (Veit et al. 2016
            train ResNet-110 with 23 of 54).
        survival: probability of the last block; it falls to that linearly from 1 at the input, and every
            block is drawn by itself (stochastic depth; Huang et al. 2016 take 0.5).
    """

    kept: int | None = None
    survival: float | None = None

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "kept")
        require_between(self, 0, 1, "survival")
        if self.kept is not None and self.survival is not None:
            raise ValueError(
                f"kept {self.kept} and survival {self.survival:g} exclude each other; give one of them"
            )

    def key(self) -> str | None:
        """The key that is given, for messages; None where all blocks are trained."""
        names = [name for name in ("kept", "survival") if getattr(self, name) is not None]
        return f"blocks.{names[0]}" if names else None


class BlockSubsets:
    """The blocks that each step trains, and the network that is scored and saved.

    Args:
        model: a residual network, also of pre-activation or of another unit.
        seed: of the run.

    Attributes:
        probabilities: block → how likely a step trains it, in the order of the network.
    Raises:
        UserError: the network has no residual blocks, or fewer than are to be kept.
    """

    def __init__(self, model: Network, config: BlocksConfig, seed: int) -> None:
        self.model, self.config, self.seed = model, config, seed
        self._paths = {name: path for name, (path,) in find_blocks(model).items()}
        blocks = [model.get_submodule(path) for path in self._paths.values()]
        if not blocks or not all(hasattr(block, "silenced_by") for block in blocks):
            raise UserError(
                f"{config.key()} leaves out residuals, and {model.name} has none; leave it out, or train a "
                "residual network"
            )
        number = len(blocks)
        if config.kept is not None and config.kept > number:
            raise UserError(
                f"blocks.kept must be at most {number}, the residual blocks of {model.name}, got "
                f"{config.kept}"
            )
        last = config.survival or 0.0
        self.probabilities = {
            name: 1 - place / number * (1 - last) if config.kept is None else config.kept / number
            for place, name in enumerate(self._paths, start=1)
        }

    def left_out(self, step: int) -> list[str]:
        """The blocks that a step, counted from 0, does without, in the order of the network."""
        rng = np.random.default_rng(item_seed(self.seed, _EPOCH, step))
        names, chances = list(self.probabilities), np.array(list(self.probabilities.values()))
        if self.config.kept is None:
            trained = rng.random(len(names)) < chances
        else:
            trained = rng.permutation(len(names)) < self.config.kept
        return [name for name, kept in zip(names, trained.tolist(), strict=True) if not kept]

    @contextmanager
    def drawn(self, step: int) -> Iterator[None]:
        """Within the block of code the model is without this step's blocks; their gradients start at zero."""
        names = self.left_out(step)
        for name in names:
            for parameter in self.model.get_submodule(self._paths[name]).parameters():
                parameter.grad = torch.zeros_like(parameter)
        with without_blocks(self.model, names):
            yield

    @contextmanager
    @torch.no_grad()
    def expected(self) -> Iterator[None]:
        """Within the block of code every residual is multiplied by its block's probability."""
        layers = [(self._last_layer(name), probability) for name, probability in self.probabilities.items()]
        before = [(parameter, parameter.clone()) for layer, _ in layers for parameter in layer.parameters()]
        try:
            for layer, probability in layers:
                for parameter in layer.parameters():
                    parameter.mul_(probability)
            yield
        finally:
            for parameter, values in before:
                parameter.copy_(values)

    def _last_layer(self, name: str) -> nn.Module:
        block: Any = self.model.get_submodule(self._paths[name])
        return block.get_submodule(block.silenced_by)
