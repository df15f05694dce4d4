"""Small sets written into a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.data.annotations import DetectionDataset
from detection.data.dataset_splits import DataConfig, open_dataset


@pytest.fixture
def place(tmp_path: Path) -> Callable[[Mapping[str, str | None]], Path]:
    """place({name: text}) writes files into the folder it gives, for None a black picture of 20 x 10."""

    def write(files: Mapping[str, str | None]) -> Path:
        for name, text in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                Image.fromarray(np.zeros((10, 20, 3), dtype=np.uint8)).save(path)
            else:
                path.write_text(text)
        return tmp_path / "set"

    return write


@pytest.fixture
def opened() -> Callable[..., list[DetectionDataset]]:
    """opened(kind, root, key=value, …) gives the training and the validation split of a set."""

    def open_both(kind: str, root: Path, *, masks: bool = False, **data: object) -> list[DetectionDataset]:
        config = DataConfig(kind=kind, root=str(root), **data)  # type: ignore[arg-type]
        return [open_dataset(config, split, masks=masks) for split in (config.train, config.val)]

    return open_both


@pytest.fixture
def picture() -> Callable[[Path], Path]:
    """Writes a picture of 64 x 48 (width x height) pixels; gives its path."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(path)
        return path

    return write
