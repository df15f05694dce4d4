"""From pictures and label maps to batches, and the loaders that make them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pictures.decoding import load_image
from segmentation.data.crop_augmentation import random_view
from segmentation.data.segmentation_sets import SegmentationData, check_size
from segmentation.types import IGNORED, Batch, SegmentationDataset
from training.loader import BatchLoader, Item, TrainSampler


class LabelledPicture(NamedTuple):
    """One prepared picture; the fields are rows of a Batch before padding."""

    image: Tensor  # (3, h, w) uint8
    labels: Tensor  # (h, w) uint8
    seed: int
    id: str


class LabelledPictures:
    """Pictures of a data set with their label maps, as training or evaluation sees them.

    Training sees a random window of each: everything random comes from `Item.seed`, so a picture's window
    does not depend on the number of workers or processes. Evaluation sees pictures as their files have them.
    """

    def __init__(self, dataset: SegmentationDataset, data: SegmentationData, *, training: bool) -> None:
        self.dataset, self.data, self.training = dataset, data, training

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: Item) -> LabelledPicture:
        labels = self.dataset.load_labels(item.index)
        path, image_id = self.dataset.image_path(item.index), self.dataset.image_id(item.index)
        pixels = load_image(path)
        size = (labels.shape[0], labels.shape[1])
        if pixels.shape[:2] != size:
            check_size(self.dataset, item.index, labels)
            pixels = load_image(path, size)  # as it is stored: the label map was made of the unturned picture
        if not self.training:
            whole = torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(np.ascontiguousarray(labels))
            return LabelledPicture(*whole, item.seed, image_id)
        view = random_view(size, self.data, item.seed)
        return LabelledPicture(view.image(pixels), view.labels(labels), item.seed, image_id)

    def read(self, items: Sequence[Item]) -> Batch:
        """The batch of these items; in training all have sides of `crop` pixels."""
        crop = self.data.crop if self.training else 0
        return collate([self[item] for item in items], at_least=crop)


def collate(pictures: Sequence[LabelledPicture], at_least: int = 0) -> Batch:
    """Pads pictures below and right to one batch, whose sides have so many pixels at least."""
    sizes = torch.tensor([picture.labels.shape for picture in pictures], dtype=torch.int64)
    height, width = (max(side, at_least) for side in sizes.amax(dim=0).tolist())
    images = torch.zeros((len(pictures), 3, height, width), dtype=torch.uint8)
    labels = torch.full((len(pictures), height, width), IGNORED, dtype=torch.uint8)
    for row, picture in enumerate(pictures):
        high, wide = picture.labels.shape
        images[row, :, :high, :wide] = picture.image
        labels[row, :high, :wide] = picture.labels
    seeds = torch.tensor([picture.seed for picture in pictures], dtype=torch.int64)
    return Batch(images, labels, sizes, seeds, [picture.id for picture in pictures])


def training_batches(
    pictures: LabelledPictures, batch_size: int, *, workers: int = 0, **options: Any
) -> BatchLoader[Batch]:
    """An endless stream of training batches for one process; `options` as of TrainSampler, with a seed."""
    return BatchLoader(pictures.read, TrainSampler(len(pictures), batch_size, **options), workers)


def evaluation_batches(
    pictures: LabelledPictures, indices: Sequence[int], *, workers: int = 0
) -> BatchLoader[Batch]:
    """The pictures `indices` (a process's `evaluation_shard`) in order, each once and never padded.

    One at a time: beside a larger picture the padding would reach into what a network computes of a smaller.
    """
    return BatchLoader(pictures.read, [[Item(index, 0)] for index in indices], workers)
