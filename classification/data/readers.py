"""Where the encoded pictures of a split come from: class folders, tar shards, a Hugging Face data set.

Every reader gives any picture by its index. Streams, as WebDataset and timm read shards, cannot: there the
order hangs on buffers, workers and processes, and a resumed run cannot go on at the very next picture.
"""

from pathlib import Path
from typing import Protocol

from torch import Tensor

from classification.config import DataConfig
from classification.data.class_folders import list_folder
from classification.data.huggingface_reader import HuggingFaceReader
from classification.data.shapes_folders import ensure_shapes
from classification.data.shards import ShardReader
from training.config import data_root


class Reader(Protocol):
    """The encoded pictures of one split.

    Attributes:
        classes: K names.
        labels: (N,) int64, 0 … K−1.
    """

    classes: list[str]
    labels: Tensor

    def name(self, index: int) -> str:
        """What messages call a picture: its path, or its shard and member."""

    def content(self, index: int) -> bytes:
        """A picture as stored.

        Raises:
            UserError: it cannot be read.
        """


def open_reader(root: str | Path, split: str, config: DataConfig) -> Reader:
    """The reader for a data set's kind.

    Raises:
        UserError: the split is not there, or not whole.
    """
    if config.kind == "shards":
        return ShardReader(Path(root), split)
    if config.kind == "huggingface":
        return HuggingFaceReader(str(root), split, config.picture_column, config.label_column)
    return list_folder(Path(root), split)


def place(config: DataConfig) -> Path | str:
    """Where the splits of a data set of picture files are; Shapes are generated there if need be."""
    if config.kind == "huggingface":
        assert config.root is not None
        return config.root
    if config.kind == "shapes":
        return ensure_shapes(Path(config.root or data_root() / "shapes"))
    return Path(config.root or data_root() / "imagenet")
