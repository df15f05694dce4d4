"""Several trainings at once on one device: small networks leave most of a GPU idle."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from torch import nn

from backbones import create_model
from classification.config import PretrainConfig
from classification.pretrain import pretrain
from foundation.errors import UserError
from training.devices import resolve_device, world_size

logger = logging.getLogger(__name__)


def pretrain_together(runs: Sequence[tuple[PretrainConfig, Path, bool]]) -> list[dict[str, Any]]:
    """Trains all configurations at once; each ends, and returns what `pretrain` returns, as it would alone.

    Args:
        runs: configuration, run folder, and whether to resume what is in it.
    Raises:
        UserError: several processes, pictures that a loader brings, or a network with dropout.
        Exception: the first that a training raised, after all others have ended.
    """
    if world_size() > 1:
        raise UserError(f"trainings run together in one process, but torchrun started {world_size()}")
    for config, _, _ in runs:
        refuse_shared(config)
    ended: list[dict[str, Any] | Exception] = [{} for _ in runs]

    def run(number: int, config: PretrainConfig, out: Path, resume: bool) -> None:
        try:
            device = resolve_device(config.run.device)
            on_gpu = device.type == "cuda"
            with torch.cuda.stream(torch.cuda.Stream(device)) if on_gpu else nullcontext():
                ended[number] = pretrain(config, out, resume=resume)
        except Exception as error:  # kept for the main thread, which raises it
            ended[number] = error
            logger.error("%s", error)

    # Named for the log; daemons, so that Ctrl-C ends them all. Each goes on from its checkpoint.
    threads = [
        Thread(target=run, name=each[1].name, args=(i, *each), daemon=True) for i, each in enumerate(runs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in ended:
        if isinstance(result, Exception):
            raise result
    return [result for result in ended if not isinstance(result, Exception)]


def refuse_shared(config: PretrainConfig) -> None:
    """Raises UserError if the training needs what threads share: random generators, or worker processes."""
    if config.data.kind != "cifar10" or config.run.workers:
        raise UserError(
            "trainings at once need pictures in memory (data.kind=cifar10, run.workers=0), got "
            f"{config.data.kind} and {config.run.workers} workers; train one after another"
        )
    with torch.device("meta"):
        model = create_model(config.model.name)
    if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in model.modules()):
        raise UserError(
            f"{config.model.name} has dropout, and trainings at once would draw from one generator, so none "
            "could be repeated; train one after another"
        )
