"""Labelled pictures kept encoded (JPEG, PNG, …), decoded and augmented one by one: ImageNet and its like."""

from collections.abc import Sequence
from functools import partial

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
from classification.data.data_sets import DataConfig, PictureReader
from classification.data.labelled_batches import Batch, mean_spec
from classification.data.mean_picture import mean_picture
from foundation.errors import UserError
from pictures.decoding import Box, decode_crop, decode_image
from training.loader import Item


class EncodedPictures:
    """One split: `Pictures` that are decoded, cropped and augmented as the configuration says.

    Attributes:
        input_spec: ImageNet's channel means and deviations, unless another is adopted; with data.mean=pixel
            the channel means of the mean picture, and deviations of 1.
        mean: (3, image_size, image_size) float32 in 0–1, the mean picture; only with data.mean=pixel.
    """

    mean: Tensor | None = None

    def __init__(self, reader: PictureReader, config: DataConfig, *, training: bool) -> None:
        """Takes the pictures of a reader.

        Args:
            training: random crops instead of the centre crop; broken pictures may be left out.
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

    def read(self, items: Sequence[Item]) -> Batch:
        """The batch of these items; with data.broken=skip without those of a training batch that are broken.

        Raises:
            UserError: a picture is broken, or with data.broken=skip all are.
        """
        pictures, kept, skipped = [], [], []
        for item in items:
            try:
                pictures.append(self.view(item.index, item.seed))
                kept.append(item)
            except UserError as error:
                if not self.training or self.config.broken == "stop":
                    raise
                skipped.append(str(error))
        if not kept:
            raise UserError(f"all {len(items)} pictures of a micro-batch are broken, the first: {skipped[0]}")
        return Batch(
            images=torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2),
            labels=self.labels[[item.index for item in kept]],
            seeds=torch.tensor([item.seed for item in kept]),
            ids=[self.reader.name(item.index) for item in kept],
            skipped=skipped,
        )

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
        """Lets `prepare` give what a network with this specification was trained on.

        Raises:
            UserError: with data.mean=pixel, the network was trained with another mean.
        """
        if self.config.mean == "pixel":
            self.mean = mean_picture(self.config)
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
        if self.mean is None or self.mean.shape[1:] != batch.images.shape[2:]:
            return self.input_spec.normalise(batch.images)
        self.mean = self.mean.to(batch.images.device)  # once: a copy in every step would wait for the GPU
        return batch.images.float() / 255 - self.mean
