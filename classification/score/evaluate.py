"""Scores a classifier on a labelled set."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from classification.data.labelled_batches import Batch
from classification.score.outcomes import join, judge, summarise
from training.devices import gather_objects


class Readable(Protocol):
    """What is read of some pictures; `to` gives it on a device, with `labels` (N,) int64."""

    @property
    def ids(self) -> list[str]: ...

    def to(self, device: torch.device) -> Any: ...


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
    scored = predict(model, batches, lambda batch: model(prepare(batch)), device=device, precision=precision)
    parts = [judge(scores, [[label] for label in labels.tolist()]) for _, labels, scores in scored]
    return summarise(join([part for share in gather_objects(parts) for part in share]), classes)


@torch.inference_mode()
def predict(
    model: nn.Module,
    batches: Iterable[Readable],
    score: Callable[[Any], Tensor],
    *,
    device: torch.device,
    precision: str = "fp32",
) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """What a network says of each batch: ids, labels (N,) and log probabilities (N, K) float32.

    Args:
        model: what `score` uses; in eval mode while the batches last, then in the mode it was in.
        batches: this process's share of the set.
        score: gives logits (N, K), or log probabilities, of a batch on the device.
        precision: "bf16" runs `score` under autocast.
    """
    training = model.training
    model.eval()
    try:
        for batch in batches:
            on_device = batch.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                scores = score(on_device)
            yield batch.ids, on_device.labels, scores.float().log_softmax(1)
    finally:
        model.train(training)
