"""From data set entries to batches of fixed shape, and the loaders that make them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detection.data.annotations import DetectionDataset
from detection.data.dataset_splits import DataConfig
from detection.data.transforms import View, jittered_view, resized_size
from detection.types import Batch, Target
from foundation.errors import UserError
from pictures.decoding import load_image
from pictures.file_names import name_fitting
from training.loader import BatchLoader, Item, TrainSampler

SIZE_MULTIPLE = 32  # the stride of conv5: every stage of every backbone divides the padded picture
BOXES_MULTIPLE = 8  # few distinct shapes, so that compiled code is reused

_Numbers = NDArray[np.int64]


class Sample(NamedTuple):
    """One prepared picture; the fields are rows of a Batch before padding."""

    image: Tensor
    scale: tuple[float, float]
    boxes: Tensor
    labels: Tensor
    seed: int
    id: str
    masks: Tensor | None = None


class PreparedPictures:
    """Pictures of a data set, decoded, resized, perhaps cropped, flipped at random; with the objects in view.

    Left out are objects to be ignored (but see `DataConfig.difficult`), those without area in the view, and
    with masks those without a pixel.
    Everything random comes from `Item.seed`, so a picture's sample does not depend on the number of workers
    or processes.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        options: DataConfig,
        *,
        training: bool = True,
        masks: bool = False,
        few_shapes: bool = False,
    ) -> None:
        """Prepare to read `dataset`.

        Args:
            training: with what `options` says is random; otherwise pictures are only resized.
            masks: also give the objects' masks; the data set must have been opened with them.
            few_shapes: batches have room for 8, 16, 32, … objects instead of every multiple of 8.
        """
        self.dataset, self.options = dataset, options
        self.training, self.masks, self.few_shapes = training, masks, few_shapes

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: Item) -> Sample:
        target = self.dataset.load_target(item.index)
        return self.prepare(load_image(self.dataset.image_path(item.index), target.size), target, item.seed)

    def prepare(self, pixels: NDArray[np.uint8], target: Target, seed: int) -> Sample:
        """The sample of a decoded picture (H, W, 3) and its objects."""
        rng = np.random.default_rng(seed)
        view = self._view(target.size, rng)
        boxes = view.boxes(target.boxes)
        left_out = target.ignore & (self.options.difficult == "leave_out")
        chosen = np.flatnonzero(((boxes[:, 2:] > boxes[:, :2]).all(1) & ~left_out).numpy())
        if len(chosen) > self.options.max_boxes:
            chosen = np.sort(rng.choice(chosen, self.options.max_boxes, replace=False))
        masks = None
        if self.masks:
            chosen, masks = _masks_in_view(target, chosen, view)
        return Sample(
            image=view.image(torch.from_numpy(pixels).permute(2, 0, 1)),
            scale=view.scale,
            boxes=boxes[chosen],
            labels=target.labels[chosen],
            seed=seed,
            id=str(target.image_id),
            masks=masks,
        )

    def _view(self, size: tuple[int, int], rng: np.random.Generator) -> View:
        options = self.options
        if not self.training:
            return _whole(size, options)
        if options.crop is not None:
            low, high = options.jitter
            view = jittered_view(size, (low, high), options.crop, rng)
        else:
            sides = options.train_short_sides or (options.short_side,)
            short_side = sides[0] if len(sides) == 1 else int(rng.choice(sides))
            view = View(size, resized_size(size, short_side, options.max_side))
        return replace(view, mirrored=options.flip and rng.random() < 0.5)

    def read(self, items: Sequence[Item]) -> Batch:
        """The batch of these items."""
        batch = collate([self[item] for item in items])
        slots = batch.boxes.shape[1]
        return batch.with_slots(1 << (slots - 1).bit_length()) if self.few_shapes else batch


def _masks_in_view(target: Target, chosen: _Numbers, view: View) -> tuple[_Numbers, Tensor]:
    """Those of the objects `chosen` that have a pixel in the view, and their masks as rows of bits.

    One mask is drawn at a time: all of a picture's at once can be gigabytes.
    """
    if target.mask is None:
        raise ValueError("masks are wanted of a data set without; open it with masks=True")
    packed = [view.packed_mask(target.mask(number, view.resized, view.window)) for number in chosen.tolist()]
    seen = [row for row, mask in enumerate(packed) if mask.any()]
    height, width = view.shown
    masks = torch.zeros((len(seen), height, -(-width // 8)), dtype=torch.uint8)
    for row, index in enumerate(seen):
        masks[row] = torch.from_numpy(packed[index])
    return chosen[seen], masks


def check_pictures(dataset: DetectionDataset) -> None:
    """Finds missing files before the first step, not hours into a training, with a UserError."""
    missing = [path for path in map(dataset.image_path, range(len(dataset))) if not path.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]}: no such picture{name_fitting(missing[0])}, though it is annotated; "
            f"{len(missing)} of {len(dataset)} pictures are missing: unpack the pictures there or "
            "correct the data folder"
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad samples to one batch."""
    height, width = (_round_up(max(s.image.shape[side] for s in samples), SIZE_MULTIPLE) for side in (1, 2))
    slots = _round_up(max(1, *(len(sample.boxes) for sample in samples)), BOXES_MULTIPLE)
    masks = [sample.masks for sample in samples if sample.masks is not None]
    return Batch(
        images=_padded([sample.image for sample in samples], (3, height, width)),
        sizes=torch.tensor([sample.image.shape[1:] for sample in samples]),
        scales=torch.tensor([sample.scale for sample in samples], dtype=torch.float32),
        boxes=_padded([sample.boxes for sample in samples], (slots, 4)),
        labels=_padded([sample.labels for sample in samples], (slots,)),
        valid=_padded([torch.ones(len(sample.boxes), dtype=torch.bool) for sample in samples], (slots,)),
        seeds=torch.tensor([sample.seed for sample in samples], dtype=torch.int64),
        ids=[sample.id for sample in samples],
        masks=_padded(masks, (slots, height, width // 8)) if masks else None,
    )


def picture_batch(pixels: NDArray[np.uint8], options: DataConfig) -> Batch:
    """One decoded picture (H, W, 3) as evaluation sees it."""
    return view_batch([pixels], _whole((pixels.shape[0], pixels.shape[1]), options))


def view_batch(pictures: Sequence[NDArray[np.uint8]], view: View) -> Batch:
    """Decoded pictures (H, W, 3) of one size, all seen the same way."""
    nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    images = [view.image(torch.from_numpy(pixels).permute(2, 0, 1)) for pixels in pictures]
    return collate([Sample(image, view.scale, *nothing, seed=0, id="") for image in images])


def _whole(size: tuple[int, int], options: DataConfig) -> View:
    """The whole of a picture (height, width), resized."""
    return View(size, resized_size(size, options.short_side, options.max_side))


def _padded(tensors: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    """The tensors stacked, with zeros after each up to `shape`."""
    padded = tensors[0].new_zeros((len(tensors), *shape))
    for row, tensor in zip(padded, tensors, strict=True):
        row[tuple(map(slice, tensor.shape))] = tensor
    return padded


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def aspect_groups(dataset: DetectionDataset) -> list[int]:
    """0 for upright pictures, 1 for the others: batches of one kind need little padding."""
    return [int(width >= height) for height, width in dataset.image_sizes]


def training_batches(
    samples: PreparedPictures, batch_size: int, *, workers: int = 0, **options: int
) -> BatchLoader[Batch]:
    """An endless stream of training batches for one process; `options` as of TrainSampler, with a seed."""
    sampler = TrainSampler(len(samples), batch_size, groups=aspect_groups(samples.dataset), **options)
    return BatchLoader(samples.read, sampler, workers)


def evaluation_batches(
    samples: PreparedPictures, indices: Sequence[int], *, batch_size: int = 1, workers: int = 0
) -> BatchLoader[Batch]:
    """The pictures `indices` (a process's `evaluation_shard`) in order, each once.

    One picture at a time by default: padding beside larger pictures moves COCO AP a little.
    """
    items = [Item(index, 0) for index in indices]
    batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
    return BatchLoader(samples.read, batches, workers)
