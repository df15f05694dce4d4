"""Picture files in ImageNet's layout: root/<split>/<class>/<picture>."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foundation.errors import UserError
from pictures.decoding import read_file
from pictures.suffixes import PICTURE_SUFFIXES, count_others, is_hidden, is_picture

logger = logging.getLogger(__name__)


class FolderReader:
    """A `PictureReader` of encoded pictures in files of their own."""

    def __init__(self, classes: list[str], labels: Tensor, paths: Sequence[Path]) -> None:
        self.classes, self.labels = classes, labels
        # An array, since Python objects would be copied into every worker as their reference counts change.
        self.paths = np.array([os.fsencode(path) for path in paths])

    def name(self, index: int) -> str:
        return os.fsdecode(self.paths[index])

    def content(self, index: int) -> bytes:
        return read_file(self.name(index))


def list_folder(root: Path, split: str) -> FolderReader:
    """The pictures of one split; classes are the sorted folder names, as ImageNet's are.

    Raises:
        UserError: the folder is missing, holds no classes, or a class holds no pictures.
    """
    classes = class_folders(root, split)
    found = pictures_in([root / split / name for name in classes])
    labels = torch.arange(len(found)).repeat_interleave(torch.tensor([len(paths) for paths in found]))
    return FolderReader(classes, labels, [path for paths in found for path in paths])


def class_folders(root: Path, split: str) -> list[str]:
    """Names of the class folders of root/split, sorted."""
    folder = root / split
    if not folder.is_dir():
        raise UserError(
            f"no folder {folder.absolute()}; expected one folder of pictures per class in it, as ImageNet's "
            f"{split}/n01440764/*.JPEG. Unpack the data set there, or set data.root or DATA_ROOT"
        )
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_hidden(path))
    if not names:
        raise UserError(
            f"{folder.absolute()} holds no class folders; expected {split}/<class>/<picture>. ImageNet's "
            "validation archive unpacks flat: move its pictures into one folder per class"
        )
    return names


def is_flat(folder: Path) -> bool:
    """Whether a folder holds pictures and no class folders, as ImageNet's test set."""
    if not folder.is_dir():
        return False
    entries = [path for path in folder.iterdir() if not is_hidden(path)]
    return not any(path.is_dir() for path in entries) and any(map(is_picture, entries))


def pictures_in(folders: Sequence[Path]) -> list[list[Path]]:
    """The pictures of each folder, sorted by name; what is no picture by its suffix is counted in the log.

    Raises:
        UserError: a folder holds no pictures.
    """
    found, others = [], []
    for folder in folders:
        entries = sorted(folder.iterdir())
        found.append([path for path in entries if is_picture(path)])
        others += [path for path in entries if not is_picture(path)]
        if not found[-1]:
            raise UserError(
                f"class folder {folder.absolute()} holds no pictures ({', '.join(PICTURE_SUFFIXES)}); "
                "fill it or remove it"
            )
    if text := count_others(others):
        logger.warning("%s: %s", folders[0].parent, text)
    return found
