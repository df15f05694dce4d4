"""Small data sets on disk for the tests of classification."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


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
