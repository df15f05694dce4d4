"""Statistics of batch normalisation estimated anew, as before detection (He et al. 2015, appendix A)."""

import logging
from dataclasses import replace

import torch
from torch import nn

from backbones import WeightsHeader
from backbones.norm import FrozenBatchNorm2d, calibrate_batchnorm
from classification.config import PretrainConfig
from classification.data.opened_splits import open_split
from foundation.errors import UserError
from training.loader import BatchLoader, Item

BATCH_SIZE = 100
logger = logging.getLogger(__name__)


def reestimate_batchnorm(
    model: nn.Module, config: PretrainConfig, header: WeightsHeader, num_batches: int, device: torch.device
) -> None:
    """Statistics from random training pictures, seen as in evaluation: one view each, without augmentation.

    All processes use the same pictures, a choice of the run's seed, and end with the same statistics.

    Raises:
        UserError: no batches, no batch normalisation in the model, or fewer training pictures.
    """
    if num_batches < 1:
        raise UserError(f"--reestimate-bn must be 1 or more batches, got {num_batches}")
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
    loader = BatchLoader(pictures.read, batches, config.run.workers)
    calibrate_batchnorm(model, (pictures.prepare(batch.to(device)) for batch in loader))
