"""Scores a classifier on a labelled set."""

from collections.abc import Callable, Iterable
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn

from classification.loading import Batch
from classification.metrics import Counts, count, summarise
from engine.distributed import gather_objects


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    prepare: Callable[[Batch], Tensor],
    classes: list[str],
    device: torch.device,
    precision: str = "fp32",
) -> dict[str, Any]:
    """Top-1 and top-5 errors over all processes' batches; every process gets the same result.

    Args:
        model: gives logits (N, K); left in the mode it was in.
        batches: this process's share of the set.
        prepare: gives the network's input for a batch.
        classes: K names.
        precision: "bf16" runs the network under autocast.
    Returns:
        See `metrics.summarise`.
    """
    training = model.training
    model.eval()
    none = torch.zeros(len(classes), dtype=torch.int64)
    counts = Counts(none, none, none, 0.0)
    for batch in batches:
        on_device = batch.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = model(prepare(on_device))
        counts = counts + count(logits, on_device.labels)
    model.train(training)
    return summarise(reduce(add, gather_objects(counts)), classes)
