"""The pictures a network is scored on, in the order of the classes it knows."""

import re
from pathlib import Path

import torch

from backbones import WeightsHeader
from classification.config import DataConfig
from classification.data.datasets import open_split
from classification.data.class_folders import SUFFIXES, PictureFiles, pictures_in
from classification.data.picture_files import FolderPictures
from classification.data.labelled_batches import Pictures
from classification.data.readers import place
from foundation.errors import UserError

UNKNOWN = -1  # the label of a picture without one


def open_validation(weights: Path, header: WeightsHeader, config: DataConfig) -> Pictures:
    """data.val_split with the classes of the header, or without labels where it has no class folders.

    Raises:
        UserError: the data are missing, or of other classes.
    """
    pictures = open_pictures(config, header.classes)
    match_classes(weights, header, pictures)
    pictures.adopt(header.input_spec)
    return pictures


def open_pictures(config: DataConfig, classes: list[str]) -> Pictures:
    """data.val_split as it is; these classes, and no labels, where it has no class folders.

    Raises:
        UserError: the data are missing.
    """
    if config.kind == "folder" and is_flat(Path(place(config), config.val_split)):
        return open_flat(classes, config)
    return open_split(config, training=False)


def match_classes(weights: Path, header: WeightsHeader, pictures: Pictures) -> None:
    """Makes the labels of pictures those of a network.

    Folders that are named 0, 1, 2, … are the numbers of the classes (ImageNet-V2). A converted network of
    others names no classes: those of the data are taken, in their order, if there are as many.

    Raises:
        UserError: the classes are others.
    """
    known = header.classes
    if not known:
        check_number(weights, header.options.get("num_classes"), pictures)
        numbered = [str(number) for number in range(len(pictures.classes))]
        known = numbered if sorted(pictures.classes) == sorted(numbered) else pictures.classes
    if pictures.classes != known and all(re.fullmatch(r"\d+", name) for name in pictures.classes):
        number_classes(weights, known, pictures)
    check_classes(weights, known, pictures)


def is_flat(folder: Path) -> bool:
    """Whether a folder holds pictures and no class folders."""
    if not folder.is_dir():
        return False
    entries = [path for path in folder.iterdir() if path.name[0] != "."]
    return not any(path.is_dir() for path in entries) and any(p.suffix.lower() in SUFFIXES for p in entries)


def open_flat(classes: list[str], config: DataConfig) -> FolderPictures:
    """The pictures of a folder without class folders, as ImageNet's test set: none has a label."""
    root = place(config)
    paths = pictures_in(Path(root, config.val_split))
    files = PictureFiles(list(classes), torch.full((len(paths),), UNKNOWN), paths)
    return FolderPictures(root, config.val_split, config, training=False, reader=files)


def number_classes(weights: Path, known: list[str], pictures: Pictures) -> None:
    """Takes folder names that are numbers for the places of the classes, instead of sorting them as text.

    Raises:
        UserError: they are not 0 … K−1, each once.
    """
    numbers = [int(name) for name in pictures.classes]
    if sorted(numbers) != list(range(len(known))) or not isinstance(pictures, FolderPictures):
        raise UserError(
            f"the class folders of data.val_split are named by number, {min(numbers)} to {max(numbers)} "
            f"({len(numbers)} folders); {weights} knows {len(known)} classes, so expected 0 to "
            f"{len(known) - 1}, each once, as in ImageNet-V2"
        )
    pictures.labels = torch.tensor(numbers)[pictures.labels]
    pictures.classes = list(known)


def check_number(weights: Path, outputs: int | None, pictures: Pictures) -> None:
    """Refuses data of another number of classes than a network has, which does not name its own."""
    if outputs != len(pictures.classes):
        raise UserError(
            f"{weights} has {outputs} outputs, the data {len(pictures.classes)} classes; choose data.kind, "
            "data.root and data.val_split to match"
        )


def check_classes(weights: Path, known: list[str], pictures: Pictures) -> None:
    """Refuses data of which the network knows other classes, or the same in another order.

    Raises:
        UserError: it does.
    """
    if known != pictures.classes:
        differing = [f"{a!r} and {b!r}" for a, b in zip(known, pictures.classes, strict=False) if a != b]
        first = f", the first that differ are {differing[0]}" if differing else ""
        raise UserError(
            f"{weights} knows {len(known)} classes, the data has {len(pictures.classes)}{first}; "
            "choose data.kind, data.root and data.val_split to match"
        )
