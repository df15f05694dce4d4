"""Which pictures a classifier gets right, one by one; and the errors over all of them."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from classification.data.labelled_batches import Batch
from classification.score.picture_views import Views
from training.devices import gather_objects

MOST = 5  # classes that are kept of every picture, and that count as an answer in the top-5 error


@dataclass(frozen=True)
class Outcomes:
    """What became of N pictures of K classes.

    Kept picture by picture: sums over processes would depend, by rounding, on how many there are.

    Attributes:
        truth: the labels of each picture, 0 … K−1; several if each of them is right, none if it is unknown.
        top1: (N,) bool, whether one of them has the highest score of all classes.
        top5: (N,) bool, whether one of them is among the five highest.
        loss: (N,) float64, cross-entropy in nats; NaN where there is not exactly one label.
        best: (N, min(K, 5)) int64, the classes of the highest scores, the highest first.
        probabilities: (N, min(K, 5)) float32, theirs.
    """

    truth: list[list[int]]
    top1: Tensor
    top5: Tensor
    loss: Tensor
    best: Tensor
    probabilities: Tensor


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    prepare: Callable[[Batch], Tensor],
    classes: list[str],
    device: torch.device,
    precision: str = "fp32",
) -> dict[str, Any]:
    """The errors of `summarise` over all processes' batches, the same in every process; see `predict`."""
    scored = predict(model, batches, lambda batch: model(prepare(batch)), device=device, precision=precision)
    parts = [judge(scores, [[label] for label in labels.tolist()]) for _, labels, scores in scored]
    return summarise(join([part for share in gather_objects(parts) for part in share]), classes)


@torch.inference_mode()
def predict(
    model: nn.Module,
    batches: Iterable[Batch | Views],
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


def judge(log_probabilities: Tensor, truth: list[list[int]]) -> Outcomes:
    """Compares scores with labels; ties go against the network.

    So a network that gives every class the same score, or NaN, is wrong everywhere. The scores are (N, K)
    float32; the truth is that of `Outcomes`.
    """
    num_classes = log_probabilities.shape[1]
    known = torch.zeros(log_probabilities.shape, dtype=torch.bool)
    rows = torch.tensor([row for row, labels in enumerate(truth) for _ in labels], dtype=torch.int64)
    known[rows, torch.tensor([*chain(*truth)], dtype=torch.int64)] = True
    known = known.to(log_probabilities.device)
    own = log_probabilities.masked_fill(~known, -math.inf).amax(1, keepdim=True)
    beaten = ((log_probabilities < own) & ~known).sum(1)
    others = num_classes - known.sum(1)
    labelled, single = others < num_classes, others == num_classes - 1
    best = log_probabilities.topk(min(MOST, num_classes))
    return Outcomes(
        truth,
        (labelled & (beaten >= others)).cpu(),
        (labelled & (beaten >= others - (MOST - 1))).cpu(),
        torch.where(single, -own[:, 0], math.nan).cpu().double(),
        best.indices.cpu(),
        best.values.exp().cpu(),
    )


def join(parts: Sequence[Outcomes]) -> Outcomes:
    """The outcomes of all pictures of the parts, in their order; a ValueError if there is none."""
    if not any(part.truth for part in parts):
        raise ValueError("no picture was evaluated: expected at least one batch over all processes")
    names = ("top1", "top5", "loss", "best", "probabilities")
    joined = (torch.cat([getattr(part, name) for part in parts]) for name in names)
    return Outcomes([labels for part in parts for labels in part.truth], *joined)


def summarise(outcomes: Outcomes, classes: list[str]) -> dict[str, Any]:
    """Errors in per cent, as the paper's tables have them.

    Returns:
        "pictures": how many have a label, and "left_out": how many have none, if any.
        "scores": "top1_error", "top5_error" (only with six classes or more) and "loss", the mean in nats, or
        None if it is not finite or a picture has several labels. Empty if no picture has a label.
        "class_top1_error": of each class, None where it has no picture; a picture counts in all its classes.
    """
    counted = torch.tensor([bool(labels) for labels in outcomes.truth])
    total = int(counted.sum())
    pictures, wrong = Counter[int](), Counter[int]()
    for labels, right in zip(outcomes.truth, outcomes.top1.tolist(), strict=True):
        pictures.update(labels)
        wrong.update([] if right else labels)
    scores: dict[str, float | None] = {}
    if total:
        scores["top1_error"] = 100 * (total - int(outcomes.top1[counted].sum())) / total
        if len(classes) > MOST:
            scores["top5_error"] = 100 * (total - int(outcomes.top5[counted].sum())) / total
        loss = float(outcomes.loss[counted].sum()) / total
        scores["loss"] = loss if math.isfinite(loss) else None
    return {
        "pictures": total,
        **({"left_out": len(outcomes.truth) - total} if total < len(outcomes.truth) else {}),
        "scores": scores,
        "class_top1_error": {
            name: 100 * wrong[label] / pictures[label] if pictures[label] else None
            for label, name in enumerate(classes)
        },
    }


def confusion(outcomes: Outcomes, num_classes: int) -> Tensor | None:
    """How often a picture of each class was taken for each one: (K, K) int64, rows by label.

    None where a picture has several labels, so that no row is its own, or no picture has one.
    """
    labels = [labels for labels in outcomes.truth if labels]
    if not labels or max(map(len, labels)) > 1:
        return None
    counted = torch.tensor([bool(labels) for labels in outcomes.truth])
    cells = torch.tensor([*chain(*labels)]) * num_classes + outcomes.best[counted, 0]
    return cells.bincount(minlength=num_classes**2).view(num_classes, num_classes)
