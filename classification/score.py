"""Scores a weight file on the validation data of its own training, if need be with statistics made anew."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backbones import WeightsHeader, create_model, read_weights, save_weights
from backbones.norm import FrozenBatchNorm2d, calibrate_batchnorm
from classification.config import PretrainConfig
from classification.datasets import open_split
from classification.evaluate import evaluate
from classification.loading import Pictures, evaluation_batches
from engine.batches import BatchLoader
from engine.checkpoint import replace_atomically
from engine.config import parse_config
from engine.device import resolve_device
from engine.distributed import is_main, process_group
from engine.errors import UserError
from engine.sampler import Item

BATCH_SIZE = 100  # of one process; the score depends on it by rounding alone
REESTIMATED = "reestimated.safetensors"
logger = logging.getLogger(__name__)


def score_weights(
    weights: Path, overrides: Sequence[str], out: Path | None, *, reestimate: int = 0
) -> dict[str, Any]:
    """Rebuilds network and validation data from the file's header, and evaluates.

    Args:
        weights: best.safetensors or last.safetensors of a pretraining run.
        overrides: changes to its configuration, for instance "data.val_split=test".
        out: folder for result.json; without it nothing is written.
        reestimate: batches of training pictures from which the statistics of batch normalisation are first
            estimated anew (He et al. 2015, appendix A); `out` then also gets the weights with these
            statistics and their score, for detectors to start from. 0 keeps the file's.
    Returns:
        See `metrics.summarise`.
    Raises:
        UserError: no classifier's weights, data missing or with other classes, or a wrong override; no batch
            normalisation, or fewer training pictures than asked for.
        WeightsError: the file is broken or does not fit its own header.
    """
    header = read_classifier_header(weights)
    config = parse_config(PretrainConfig, header.config, overrides, source=str(weights))
    pictures = open_split(config.data, training=False)
    check_classes(weights, header.classes, pictures)
    pictures.adopt(header.input_spec)
    # One process's statistics are those of all: nothing is trained here.
    arguments = asdict(config.model) | {"weights": weights, "norm": "batch"}
    model = create_model(arguments.pop("name"), num_classes=len(header.classes), **arguments)
    device = resolve_device(config.run.device)
    with process_group(device):
        model.to(device)
        if reestimate:
            reestimate_batchnorm(model, config, header, reestimate, device)
        result = evaluate(
            model,
            evaluation_batches(pictures, BATCH_SIZE, config.run.workers),
            prepare=pictures.prepare,
            classes=pictures.classes,
            device=device,
            precision=config.run.precision,
        )
    if out is not None:
        write_result(out, result)
        if reestimate and is_main():
            scores = {name: value for name, value in result["scores"].items() if value is not None}
            save_weights(out / REESTIMATED, model.state_dict(), replace(header, score=scores))
    return result


def reestimate_batchnorm(
    model: nn.Module, config: PretrainConfig, header: WeightsHeader, num_batches: int, device: torch.device
) -> None:
    """Statistics from random training pictures, seen as in evaluation: one view each, without augmentation.

    All processes use the same pictures, a choice of the run's seed, and end with the same statistics.

    Raises:
        UserError: the model has no batch normalisation, or the training data has fewer pictures.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)]
    if not norms:
        raise UserError(f"{config.model.name} has no batch normalisation; leave out --reestimate-bn")
    pictures = open_split(replace(config.data, val_split=config.data.train_split), training=False)
    pictures.adopt(header.input_spec)
    batch_size = min(BATCH_SIZE, len(pictures))
    if num_batches * batch_size > len(pictures):  # batches must be equal: each counts alike
        raise UserError(
            f"{config.data.train_split} has {len(pictures)} pictures, fewer than {num_batches} batches of "
            f"{batch_size}; give --reestimate-bn {len(pictures) // batch_size} or less"
        )
    logger.info("statistics of %d layers from %d training pictures", len(norms), num_batches * batch_size)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(config.run.seed))
    chosen = order[: num_batches * batch_size].view(num_batches, batch_size).tolist()
    batches = [[Item(index, 0) for index in batch] for batch in chosen]
    calibrate_batchnorm(model, _inputs(pictures, batches, config.run.workers, device))


def _inputs(
    pictures: Pictures, batches: list[list[Item]], workers: int, device: torch.device
) -> Iterator[Tensor]:
    for batch in BatchLoader(pictures.read, batches, workers):
        yield pictures.prepare(batch.to(device))


def read_classifier_header(weights: Path) -> WeightsHeader:
    """The header of a pretraining run's weights.

    Raises:
        UserError: the file has none, or is of another kind of run.
    """
    _, header = read_weights(weights)
    expected = "expected a classifier's weights (best.safetensors of tools/pretrain.py)"
    if header is None:
        raise UserError(
            f"{weights}: {expected}, found no header that says what network and data it belongs to"
        )
    if "backbone" in header.config:
        raise UserError(
            f"{weights}: {expected}, found those of a {header.model}; score it with tools/eval_det.py"
        )
    if not header.config or not header.classes:
        raise UserError(f"{weights}: {expected}, found a {header.model} without configuration or class names")
    return header


def check_classes(weights: Path, known: list[str], pictures: Pictures) -> None:
    """Refuses data of which the network knows other classes, or the same in another order."""
    if known != pictures.classes:
        differing = [f"{a!r} and {b!r}" for a, b in zip(known, pictures.classes, strict=False) if a != b]
        first = f", the first that differ are {differing[0]}" if differing else ""
        raise UserError(
            f"{weights} knows {len(known)} classes, the data has {len(pictures.classes)}{first}; "
            "choose data.kind, data.root and data.val_split to match"
        )


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """result.json, by the main process."""
    if is_main():
        folder.mkdir(parents=True, exist_ok=True)
        with replace_atomically(folder / "result.json") as temporary:
            temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def describe(result: dict[str, Any]) -> str:
    """The result as a table for people."""
    scores = result["scores"]
    rows = [("top-1 error, %", scores["top1_error"])]
    if "top5_error" in scores:
        rows.append(("top-5 error, %", scores["top5_error"]))
    rows.append(("loss, nats", scores["loss"]))
    rows += [(f"  {name}", error) for name, error in result["class_top1_error"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {'-' if value is None else f'{value:.2f}':>6}" for name, value in rows]
    heading = (
        f"top-1 error of each class, %, - where it has no picture ({result['pictures']} pictures in all):"
    )
    totals = len(scores)
    return "\n".join([*lines[:totals], heading, *lines[totals:]])
