"""Labelled pictures kept encoded (JPEG, PNG, …), decoded and augmented one by one: ImageNet and its like."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backbones.spec import IMAGENET_INPUT, InputSpec
from classification.data.augment import (
    CropPolicy,
    Picture,
    area_box,
    centre_crop,
    flip_half,
    scale_jitter_box,
    shift_colour,
)
from classification.data.data_sets import OPENERS, DataConfig, PictureReader
from classification.data.labelled_batches import Batch, mean_spec, normalised
from foundation.errors import UserError
from pictures.decoding import Box, decode_crop, decode_image
from training.config import data_root
from training.devices import world_size
from training.loader import BatchLoader, Item

logger = logging.getLogger(__name__)

# Of the mean picture; a pixel deviates by about 70 grey levels, so its mean is known to 0.7 of one.
MOST_AVERAGED = 10_000
SUMMED_AT_ONCE = 50
MOST_BROKEN = 100  # pictures in a row: more are no accident


class EncodedPictures:
    """One split: `Pictures` that are decoded, cropped and augmented as the configuration says.

    Attributes:
        input_spec: ImageNet's channel means and deviations, unless another is adopted; with data.mean=pixel
            the channel means of the mean picture, and deviations of 1.
        mean: (3, image_size, image_size) float32 in 0–1, the mean picture; only with data.mean=pixel.
    """

    mean: Tensor | None = None

    def __init__(self, reader: PictureReader, config: DataConfig, *, training: bool) -> None:
        """Takes the pictures of a reader; in training with random crops instead of the centre crop.

        Raises:
            UserError: the mean picture cannot be had, or data.policy is timm's and timm not installed.
        """
        self.reader, self.config, self.training = reader, config, training
        self.classes, self.labels = reader.classes, reader.labels
        if training:
            self.policy = CropPolicy(config.policy, config.erase, config.image_size)
        self.input_spec = IMAGENET_INPUT
        if config.mean == "pixel":
            self.mean = mean_picture(config)
            self.input_spec = mean_spec(self.mean)

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """The picture's path, or its shard and member."""
        return self.reader.name(index)

    def read(self, items: Sequence[Item]) -> Batch:
        """The batch of these items; with data.broken=skip others stand in for those that are broken.

        Raises:
            UserError: a picture is broken, or with data.broken=skip too many in a row are.
        """
        pictures, indices, problems = zip(*map(self._whole_view, items), strict=True)
        return Batch(
            images=torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2),
            labels=self.labels[list(indices)],
            seeds=torch.tensor([item.seed for item in items]),
            ids=[self.reader.name(index) for index in indices],
            skipped=[problem for problem in problems if problem],
        )

    def _whole_view(self, item: Item) -> tuple[Picture, int, str]:
        """What the network is to see of an item, the index of that picture, and what is wrong with the item.

        With data.broken=skip the next whole picture of the set stands in for a broken one of training. So all
        micro-batches are full, and every picture weighs the same, however a batch is split.
        """
        problem, most = "", min(len(self), MOST_BROKEN)
        for offset in range(most):
            index = (item.index + offset) % len(self)
            try:
                return self.view(index, item.seed), index, problem
            except UserError as error:
                if not self.training or self.config.broken == "stop":
                    raise
                problem = problem or str(error)
        raise UserError(f"{most} pictures in a row are broken, the first: {problem}")

    def read_whole(self, index: int) -> tuple[Picture, int, str]:
        """The whole picture as stored, its label and its path."""
        name = self.reader.name(index)
        return decode_image(self.reader.content(index), name), int(self.labels[index]), name

    def view(self, index: int, seed: int) -> Picture:
        """The (size, size, 3) that the network is to see of one picture."""
        content, name, config = self.reader.content(index), self.reader.name(index), self.config
        if not self.training:
            return centre_crop(decode_image(content, name), config.resize, config.centre_size())
        rng = np.random.default_rng(seed)
        crop = decode_crop(content, name, partial(self.crop_box, rng), config.image_size)
        return self.policy(shift_colour(rng, flip_half(rng, crop), config.pca_colour), seed)

    def crop_box(self, rng: np.random.Generator, height: int, width: int) -> Box:
        """The part of a training picture that is looked at."""
        if self.config.augment == "inception":
            return area_box(rng, height, width)
        return scale_jitter_box(rng, height, width, self.config.image_size, self.config.jitter())

    def adopt(self, spec: InputSpec) -> None:
        """As `Pictures.adopt`; with data.mean=pixel, the network must have been trained with our mean."""
        if self.mean is not None:
            ours = mean_spec(self.mean)
            same = (spec.std, spec.order, spec.range) == (ours.std, ours.order, ours.range)
            if not same or not np.allclose(spec.mean, ours.mean, rtol=0, atol=1e-6):
                raise UserError(
                    f"the network was trained on {spec}, the mean picture of data.train_split="
                    f"{self.config.train_split} gives {ours}; leave data.mean, data.image_size and the "
                    "training data as they were"
                )
        self.input_spec = spec

    def prepare(self, batch: Batch) -> Tensor:
        """(N, 3, size, size) float32, normalised; channel means serve where the mean picture does not fit."""
        if self.mean is not None:
            self.mean = self.mean.to(batch.images.device)  # once: a copy in every step would wait for the GPU
        return normalised(batch.images, self.input_spec, self.mean)


def mean_picture(config: DataConfig) -> Tensor:
    """The per-pixel mean of the training pictures' centre crops, which He et al. 2015, §3.4, subtract.

    At most 10,000 pictures count, evenly spread over the training split. The sums are of integers, so neither
    workers nor processes change a bit. With data.broken=skip broken pictures are left out, and logged.

    Returns:
        (3, image_size, image_size) float32 in 0–1.
    Raises:
        UserError: the training split is not whole, a picture is broken, or with data.broken=skip all are.
    """
    return _mean_picture(replace(config, val_split=config.train_split), data_root())


@lru_cache(maxsize=2)  # training and validation pictures are opened one after the other
def _mean_picture(config: DataConfig, root: Path) -> Tensor:
    reader = OPENERS[config.kind](config, config.train_split, False)
    assert isinstance(reader, PictureReader)
    length = len(reader.labels)
    count = min(length, MOST_AVERAGED)
    chosen = [Item(number * length // count, 0) for number in range(count)]
    batches = [chosen[start : start + SUMMED_AT_ONCE] for start in range(0, count, SUMMED_AT_ONCE)]
    workers = 0 if len(batches) == 1 else min(len(batches), max((os.cpu_count() or 1) // world_size(), 1))
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
        # The usual centre crop, 224 of 256 pixels, whatever evaluation takes.
        total += torch.from_numpy(centre_crop(image, size / (224 / 256), size).astype("int64"))
    return total.permute(2, 0, 1), skipped
