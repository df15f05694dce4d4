"""CIFAR-10 (Krizhevsky 2009) from its official Python batches, kept in memory as uint8."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backbones.spec import InputSpec
from classification.data.labelled_batches import Batch, mean_spec, normalised
from foundation.errors import UserError, suggest
from foundation.pickles import PickleError, read_arrays
from training.loader import Item

logger = logging.getLogger(__name__)

SIDE = 32  # pixels
PADDING = 4  # He et al. 2015, §4.2
PLACES = 2 * PADDING + 1  # of a crop, in each direction
VIEWS = 2 * PLACES**2  # crops and their mirror images: a seed's remainder says which
HOW_TO_GET = (
    "download https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz and unpack it under $DATA_ROOT "
    "(default data/), or set data.root to the folder cifar-10-batches-py"
)
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
TRAIN_FILES = [name for name in MD5 if name != "test_batch"]
# He et al. 2015, §4.2: 45k/5k split for choosing, 50k and test for reporting.
SPLITS = {
    "train": (TRAIN_FILES, slice(0, 50_000)),
    "train45k": (TRAIN_FILES, slice(0, 45_000)),
    "val5k": (TRAIN_FILES, slice(45_000, 50_000)),
    "test": (["test_batch"], slice(0, 10_000)),
}


def read_batch_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (10000, 3, 32, 32) uint8 RGB and labels (10000,) int64 in 0 … 9 of an official batch file.

    Raises:
        UserError: the file is missing, not such a batch, or would run code if unpickled.
    """
    with _official(path, "a CIFAR-10 python batch"):
        content = path.read_bytes()
        if hashlib.md5(content).hexdigest() != MD5[path.name]:
            # Not an error: a copy rebuilt from pictures in another order trains just as well.
            logger.warning("%s is not the official file (md5 differs); its structure is checked", path)
        batch = read_arrays(content, text="bytes")
        data, numbers = batch[b"data"], batch[b"labels"]
        if isinstance(numbers, list) and any(isinstance(number, list) for number in numbers):
            raise ValueError("labels must be whole numbers")  # of lists that share lists NumPy copies each
        labels = np.asarray(numbers)
        if not isinstance(data, Tensor) or data.dtype != torch.uint8:
            raise ValueError("pictures must be an array of uint8")
    if data.shape != (10_000, 3072):
        raise UserError(
            f"{path}: pictures must be (10000, 3072) uint8, got {tuple(data.shape)}; {HOW_TO_GET}"
        )
    if labels.shape != (10_000,) or labels.dtype.kind != "i" or labels.min() < 0 or labels.max() > 9:
        raise UserError(f"{path}: labels must be 10000 integers from 0 to 9; {HOW_TO_GET}")
    return data.numpy().reshape(-1, 3, 32, 32), labels.astype(np.int64)


def read_class_names(path: Path) -> list[str]:
    """The ten class names of `batches.meta`, in label order."""
    with _official(path, "CIFAR-10's batches.meta"):
        content = read_arrays(path.read_bytes(), text="bytes")
        names = [name.decode() for name in content[b"label_names"]]
    if len(names) != 10:
        raise UserError(f"{path}: expected 10 class names, got {len(names)}")
    return names


@contextmanager
def _official(path: Path, kind: str) -> Iterator[None]:
    """Says how to get the official file where this one is missing or of another kind."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"CIFAR-10: no file {path.absolute()}; {HOW_TO_GET}") from None
    except (PickleError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not {kind} ({error}); {HOW_TO_GET}") from error


class Cifar10:
    """One split of CIFAR-10: `Pictures` in memory, augmented batch by batch on the device they are on.

    Attributes:
        images: (N, 3, 32, 32) uint8 RGB.
        mean: (3, 32, 32) float32, per-pixel mean of the *training* pictures, 0–1.
        input_spec: what an InputSpec can say of that mean, which is subtracted (He et al. 2015, §4.2), unless
            another is adopted.
    """

    def __init__(self, root: Path, split: str, *, train_split: str, training: bool = False) -> None:
        """Reads the files under `root` (…/cifar-10-batches-py).

        Args:
            split: one of SPLITS.
            train_split: whose per-pixel mean is subtracted.
            training: whether `prepare` pads, crops and flips.
        Raises:
            UserError: unknown split, missing or malformed files.
        """
        self.images, self.labels = read_split(root, split)
        self.split, self.train_split, self.training = split, train_split, training
        self.per_pixel = True
        self.classes = read_class_names(root / "batches.meta")
        source = self.images if split == train_split else read_split(root, train_split)[0]
        self.mean = pixel_mean(source)
        self.mean_views = all_views(self.mean)
        self.input_spec = mean_spec(self.mean)

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """The split and the picture's number in it."""
        return f"{self.split}/{index}"

    def read(self, items: Sequence[Item]) -> Batch:
        indices = torch.tensor([item.index for item in items])
        return Batch(
            images=self.images[indices],
            labels=self.labels[indices],
            seeds=torch.tensor([item.seed for item in items]),
            ids=[self.name(item.index) for item in items],
        )

    def adopt(self, spec: InputSpec) -> None:
        """As `Pictures.adopt`: channel means and deviations, or the per-pixel mean of `train_split` alone.

        Raises:
            UserError: a mean alone was subtracted in training, and it is another, by more than rounding.
        """
        ours = mean_spec(self.mean)
        per_pixel = (spec.std, spec.order, spec.range) == (ours.std, ours.order, ours.range)
        if per_pixel and not np.allclose(spec.mean, ours.mean, rtol=0, atol=1e-6):
            raise UserError(
                f"the network was trained on {spec}, CIFAR-10 with data.train_split={self.train_split} has "
                f"{ours}; leave data.train_split as it was in training"
            )
        self.per_pixel, self.input_spec = per_pixel, spec

    def prepare(self, batch: Batch) -> Tensor:
        """(N, 3, 32, 32) float32 for the network: normalised; if training, also cropped and flipped."""
        device = batch.images.device  # to which all goes once: a copy in every step would wait for the GPU
        self.mean, self.mean_views = self.mean.to(device), self.mean_views.to(device)
        if self.training and self.per_pixel:
            return augmented(batch.images, self.mean_views, batch.seeds)
        images = normalised(batch.images, self.input_spec, self.mean if self.per_pixel else None)
        return crop_and_flip(images, batch.seeds) if self.training else images


def read_split(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of one of SPLITS."""
    if split not in SPLITS:
        raise UserError(f"CIFAR-10 has no split {split!r}{suggest(split, SPLITS)}")
    files, chosen = SPLITS[split]
    parts = [read_batch_file(root / name) for name in files]
    images, labels = (np.concatenate(arrays)[chosen] for arrays in zip(*parts, strict=True))
    return torch.from_numpy(images), torch.from_numpy(labels)


def pixel_mean(images: Tensor) -> Tensor:
    """Per-pixel mean in 0–1, (N, 3, H, W) uint8 → (3, H, W) float32; integer sums, so it is exact."""
    sums = images.numpy().sum(axis=0, dtype=np.int64)  # torch takes ten times as long on a CPU
    return torch.from_numpy(sums / (255 * len(images))).float()


def crop_and_flip(images: Tensor, seeds: Tensor) -> Tensor:
    """Zero-pads by 4, crops at random to the old size, flips half (He et al. 2015, §4.2).

    Args:
        images: (N, C, H, W), at least one.
        seeds: (N,) int64, uniform over 0 … 2⁶³−1; one mixed-radix digit each gives row, column and flip.
    """
    channels, height, width = images.shape[1:]
    top, left, flip = seeds % PLACES, seeds // PLACES % PLACES, seeds // PLACES**2 % 2
    left = torch.where(flip == 1, 2 * PADDING - left, left)  # as it is in the mirror image
    both = images.new_zeros(len(images), 2, channels, height + 2 * PADDING, width + 2 * PADDING)
    inside = both[..., PADDING:-PADDING, PADDING:-PADDING]
    inside[:, 0], inside[:, 1] = images, images.flip(3)
    # Whole rows are copied, faster than pixel by pixel; these are the places of their first pixels.
    picture, mirror, channel, row, _ = both.stride()
    count = partial(torch.arange, device=images.device)
    corners = picture * count(len(images)) + mirror * flip + row * top + left
    firsts = corners[:, None, None] + channel * count(channels)[:, None] + row * count(height)
    return both.flatten().unfold(0, width, 1).index_select(0, firsts.flatten()).view_as(images)


def all_views(mean: Tensor) -> Tensor:
    """What each seed from 0 on makes of a mean picture (C, H, W): (VIEWS, C, H, W), for `augmented`."""
    return crop_and_flip(mean.expand(VIEWS, -1, -1, -1), torch.arange(VIEWS, device=mean.device))


def augmented(images: Tensor, mean_views: Tensor, seeds: Tensor) -> Tensor:
    """`crop_and_flip(images / 255 - mean, seeds)` to the bit, without a pass over pictures of floats.

    The border has the mean's colour in both: here it is zero in the pictures and in the mean.

    Args:
        images: (N, C, H, W) uint8.
        mean_views: see `all_views`.
        seeds: (N,), see `crop_and_flip`.
    Returns:
        (N, C, H, W) float32.
    """
    pixels = crop_and_flip(images, seeds).float()
    return pixels.div_(255).sub_(mean_views.index_select(0, seeds % VIEWS))
