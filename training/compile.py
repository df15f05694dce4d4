"""What is done to every block of a deep network: compiling it, or forgetting its activations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

# Variants of a block: every stage's first and further ones, in training and in evaluation; torch allows 8.
COMPILED_VARIANTS = 64


def blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated parts, as residual blocks: modules with parts of their own that stand in a Sequential."""
    return [
        child
        for parent in model.modules()
        if isinstance(parent, nn.Sequential)
        for child in parent
        if list(child.children()) and not isinstance(child, nn.Sequential)
    ]


def compile_blocks(model: nn.Module) -> None:
    """Compiles each block at its first call, and the modules that say `compile_whole` of themselves.

    The whole network if it has no blocks. Equal blocks share their code, so 1,202 layers take no longer to
    compile than 20 of the same kinds.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, COMPILED_VARIANTS)
    heads = [module for module in model.modules() if getattr(module, "compile_whole", False)]
    repeated = blocks(model)
    for part in repeated + heads if repeated else [model]:
        part.forward = torch.compile(part.forward)


def recompute_blocks(model: nn.Module) -> None:
    """Lets training keep each block's input alone and compute the rest again in the backward pass.

    One more forward pass for memory that no longer grows with what is inside the blocks (Chen et al. 2016).
    Running averages are updated once all the same.
    """
    random = any(isinstance(module, nn.modules.dropout._DropoutNd) for module in model.modules())
    for block in blocks(model):
        norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
        block.forward = partial(_recomputed, block.forward, norms, random)


def _recomputed(forward: Callable[..., Any], norms: list[_BatchNorm], random: bool, *inputs: Any) -> Any:
    """What `forward` gives; with gradients, it runs again in the backward pass."""
    if not torch.is_grad_enabled():
        return forward(*inputs)
    return checkpoint(
        forward,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=random,
        context_fn=lambda: (nullcontext(), _without_averages(norms)),
    )


@contextmanager
def _without_averages(norms: list[_BatchNorm]) -> Iterator[None]:
    """Batch statistics that leave no trace: the first pass has recorded them."""
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, tracked in before:
            norm.momentum, norm.num_batches_tracked = momentum, tracked
