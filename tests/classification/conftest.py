"""Small data sets on disk for the tests of classification."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classification.data.class_folders import list_folder
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from classification.data.labelled_batches import Batch, training_batches
from classification.data.opened_splits import open_split
from training.config import RunConfig
from training.optim import OptimConfig


@pytest.fixture
def folder_root(tmp_path: Path) -> Path:
    """ImageNet's layout: train and val with classes ape, bee, cow; 4 and 2 random pictures of 40x48 each."""
    rng = np.random.default_rng(0)
    for split, pictures in (("train", 4), ("val", 2)):
        for name in ("bee", "ape", "cow"):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for number in range(pictures):
                pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "set"


@pytest.fixture
def first_epoch() -> Callable[..., list[Batch]]:
    """Three training batches of four pictures each, from a data set of this kind at this root."""

    def read(root: Path, kind: str, workers: int = 0) -> list[Batch]:
        config = DataConfig(kind=kind, root=str(root), image_size=8, resize=10)
        pictures = open_split(config, training=True)
        run = RunConfig(workers=workers, seed=3)
        return list(islice(training_batches(pictures, OptimConfig(batch_size=4), run, 0), 3))

    return read


@pytest.fixture
def skipping(folder_root: Path) -> Callable[..., EncodedPictures]:
    """Opens the training pictures of `folder_root` with data.broken=skip."""

    def call(training: bool, **options: object) -> EncodedPictures:
        config = DataConfig(
            kind="folder", root=str(folder_root), image_size=16, resize=20, broken="skip", **options
        )
        return EncodedPictures(list_folder(folder_root, "train"), config, training=training)

    return call
