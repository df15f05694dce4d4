"""Small data sets on disk for the tests of classification."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classification.cifar import TRAIN_FILES

CLASSES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]


def write_cifar_file(path: Path, data: np.ndarray, labels: list[int]) -> None:
    path.write_bytes(pickle.dumps({b"data": data, b"labels": labels}, protocol=3))


@pytest.fixture(scope="session")
def cifar_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole cifar-10-batches-py. All pixels are 0 but these.

    In data_batch_k every red value is 10·k; the label of picture i is i modulo 10. In test_batch the first
    three values of picture 0 are 1, 2, 3 and value 1024 (green, top left) is 4. Picture 45,000 of
    the training files, the first of val5k, has label 3 instead of 0.
    """
    root = tmp_path_factory.mktemp("data") / "cifar-10-batches-py"
    root.mkdir()
    labels = [i % 10 for i in range(10_000)]
    for k, name in enumerate(TRAIN_FILES, start=1):
        data = np.zeros((10_000, 3072), np.uint8)
        data[:, :1024] = 10 * k
        marked = [*labels[:5_000], 3, *labels[5_001:]] if k == 5 else labels
        write_cifar_file(root / name, data, marked)
    data = np.zeros((10_000, 3072), np.uint8)
    data[0, [0, 1, 2, 1024]] = [1, 2, 3, 4]
    write_cifar_file(root / "test_batch", data, labels)
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": CLASSES}, protocol=3))
    return root


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
