"""The per-pixel mean that He et al. 2015, §3.4, subtract from ImageNet's pictures."""

import logging
import os
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor

from classification.data.augment import centre_crop
from classification.data.data_sets import OPENERS, DataConfig, PictureReader
from foundation.errors import UserError
from pictures.decoding import decode_image
from training.config import data_root
from training.devices import world_size
from training.loader import BatchLoader, Item

logger = logging.getLogger(__name__)

MOST = 10_000  # pictures; a pixel deviates by about 70 grey levels, so its mean is known to 0.7 of one
BATCH = 50
SHARE = 224 / 256  # of the short side: the usual centre crop, whatever evaluation takes


def mean_picture(config: DataConfig) -> Tensor:
    """(3, image_size, image_size) float32 in 0–1: the mean of the training pictures' centre crops.

    At most 10,000 pictures count, evenly spread over the training split. The sums are of integers, so neither
    workers nor processes change a bit. With data.broken=skip broken pictures are left out, and logged.

    Raises:
        UserError: the training split is not whole, a picture is broken, or with data.broken=skip all are.
    """
    kept = ("kind", "root", "train_split", "image_size", "broken", "picture_column", "label_column")
    options = {name: getattr(config, name) for name in kept}
    return _mean_picture(DataConfig(**options, resize=config.image_size), data_root(), world_size())


@lru_cache(maxsize=2)  # training and validation pictures are opened one after the other
def _mean_picture(config: DataConfig, root: Path, processes: int) -> Tensor:
    reader = OPENERS[config.kind](config, config.train_split, False)
    assert isinstance(reader, PictureReader)
    length = len(reader.labels)
    count = min(length, MOST)
    chosen = [Item(number * length // count, 0) for number in range(count)]
    batches = [chosen[start : start + BATCH] for start in range(0, count, BATCH)]
    workers = 0 if len(batches) == 1 else min(len(batches), max((os.cpu_count() or 1) // processes, 1))
    parts = list(BatchLoader(partial(_sum_up, reader, config), batches, workers))
    skipped = [problem for _, problems in parts for problem in problems]
    for number, problem in enumerate(skipped, 1):
        logger.warning("left out of the mean picture, number %d: %s", number, problem)
    if len(skipped) == count:
        raise UserError(f"all {count} pictures of the mean picture are broken, the first: {skipped[0]}")
    sums = torch.stack([part for part, _ in parts]).sum(0)
    return (sums.double() / (255 * (count - len(skipped)))).float()


def _sum_up(reader: PictureReader, config: DataConfig, items: Sequence[Item]) -> tuple[Tensor, list[str]]:
    """In a worker: the sum of some pictures, (3, size, size) int64, and what is wrong with those left out."""
    size, skipped = config.image_size, []
    total = torch.zeros(size, size, 3, dtype=torch.int64)
    for index, _ in items:
        try:
            image = decode_image(reader.content(index), reader.name(index))
        except UserError as error:
            if config.broken == "stop":
                raise
            skipped.append(str(error))
            continue
        total += torch.from_numpy(centre_crop(image, size / SHARE, size).astype("int64"))
    return total.permute(2, 0, 1), skipped
