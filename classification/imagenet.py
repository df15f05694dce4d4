"""Pictures in ImageNet's layout: root/<split>/<class>/<picture>."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backbones.spec import IMAGENET_INPUT, InputSpec
from classification.augment import (
    Picture,
    area_crop,
    centre_crop,
    flip_half,
    scale_jitter_crop,
    shift_colour,
)
from classification.config import DataConfig
from classification.loading import Batch
from engine.errors import UserError
from engine.images import load_image
from engine.sampler import Item

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}


class FolderPictures:
    """One split of a folder data set; classes are the sorted folder names, as ImageNet's are.

    Attributes:
        classes: K names.
        paths: (N,) bytes in a NumPy array, since Python objects would be copied into every worker as their
            reference counts change.
        labels: (N,) int64, 0 … K−1.
        input_spec: ImageNet's channel means and deviations, unless another is adopted.
    """

    def __init__(self, root: Path, split: str, config: DataConfig, *, training: bool) -> None:
        """Lists the pictures of root/split.

        Args:
            config: crop size and augmentation.
            training: random crops instead of the centre crop.
        Raises:
            UserError: the folder is missing, holds no classes, or a class holds no pictures.
        """
        self.config, self.training = config, training
        self.input_spec = IMAGENET_INPUT
        self.classes = class_folders(root, split)
        found = [pictures_in(root / split / name) for name in self.classes]
        counts = torch.tensor([len(paths) for paths in found])
        self.labels = torch.arange(len(found)).repeat_interleave(counts)
        self.paths = np.array([os.fsencode(path) for paths in found for path in paths])

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, items: Sequence[Item]) -> Batch:
        paths = [os.fsdecode(self.paths[item.index]) for item in items]
        pictures = [self.view(load_image(path), item.seed) for path, item in zip(paths, items, strict=True)]
        return Batch(
            images=torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2),
            labels=self.labels[[item.index for item in items]],
            seeds=torch.tensor([item.seed for item in items]),
            ids=paths,
        )

    def view(self, image: Picture, seed: int) -> Picture:
        """The (size, size, 3) the network is to see of one picture."""
        config = self.config
        if not self.training:
            return centre_crop(image, config.resize, config.image_size)
        rng = np.random.default_rng(seed)
        if config.augment == "inception":
            crop = area_crop(rng, image, config.image_size)
        else:
            crop = scale_jitter_crop(rng, image, config.image_size, config.jitter())
        return shift_colour(rng, flip_half(rng, crop), config.pca_colour)

    def adopt(self, spec: InputSpec) -> None:
        """Lets `prepare` normalise for a network with this specification."""
        self.input_spec = spec

    def prepare(self, batch: Batch) -> Tensor:
        """(N, 3, size, size) float32, normalised."""
        return self.input_spec.normalise(batch.images)


def class_folders(root: Path, split: str) -> list[str]:
    """Names of the class folders of root/split, sorted."""
    folder = root / split
    if not folder.is_dir():
        raise UserError(
            f"no folder {folder.absolute()}; expected one folder of pictures per class in it, as ImageNet's "
            f"{split}/n01440764/*.JPEG. Unpack the data set there, or set data.root or DATA_ROOT"
        )
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    if not names:
        raise UserError(
            f"{folder.absolute()} holds no class folders; expected {split}/<class>/<picture>. ImageNet's "
            "validation archive unpacks flat: move its pictures into one folder per class"
        )
    return names


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of one class, sorted by name."""
    # Names with a dot in front are droppings of file managers (macOS: ._name.JPEG), no pictures.
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
    if not paths:
        raise UserError(
            f"class folder {folder.absolute()} holds no pictures ({', '.join(sorted(SUFFIXES))}); "
            "fill it or remove it"
        )
    return paths
