"""The splits of a data set, opened for training, or for a network in the order of the classes it knows."""

import re
from pathlib import Path

import torch

from backbones import WeightsHeader
from classification.data.class_folders import FolderReader, is_flat, pictures_in
from classification.data.data_sets import OPENERS, DataConfig, PictureReader
from classification.data.encoded_pictures import EncodedPictures
from classification.data.labelled_batches import Pictures
from foundation.errors import UserError, first_difference


def open_split(config: DataConfig, *, training: bool) -> Pictures:
    """The training split with augmentation, or the validation split; a UserError if it is not whole."""
    split = config.train_split if training else config.val_split
    opened = OPENERS[config.kind](config, split, training)
    return EncodedPictures(opened, config, training=training) if isinstance(opened, PictureReader) else opened


def open_pictures(config: DataConfig, classes: list[str]) -> Pictures:
    """data.val_split as it is; in a folder without class folders, these classes and no labels."""
    folder = config.folder("imagenet") / config.val_split
    if config.kind != "folder" or not is_flat(folder):
        return open_split(config, training=False)
    (paths,) = pictures_in([folder])
    unknown = torch.full((len(paths),), -1)
    reader = FolderReader(list(classes), unknown, paths)
    return EncodedPictures(reader, config, training=False)


def open_validation(weights: Path, header: WeightsHeader, config: DataConfig) -> Pictures:
    """data.val_split with the classes of the header, normalised as its network wants it.

    Raises:
        UserError: the data are missing, or of other classes.
    """
    pictures = open_pictures(config, header.classes)
    match_classes(weights, header, pictures)
    pictures.adopt(header.input_spec)
    return pictures


def match_classes(weights: Path, header: WeightsHeader, pictures: Pictures) -> None:
    """Makes the labels of pictures those of a network.

    Folders that are named 0, 1, 2, … are the numbers of the classes (ImageNet-V2). A converted network of
    others names no classes: those of the data are taken, in their order, if there are as many.

    Raises:
        UserError: the classes are others, or the same in another order.
    """
    known = header.classes
    if not known:
        outputs = header.options.get("num_classes")
        if outputs != len(pictures.classes):
            raise UserError(
                f"{weights} has {outputs} outputs, the data {len(pictures.classes)} classes; choose "
                "data.kind, data.root and data.val_split to match"
            )
        numbered = [str(number) for number in range(len(pictures.classes))]
        known = numbered if sorted(pictures.classes) == sorted(numbered) else pictures.classes
    if pictures.classes != known and all(re.fullmatch(r"\d+", name) for name in pictures.classes):
        numbers = [int(name) for name in pictures.classes]
        if sorted(numbers) != list(range(len(known))) or not isinstance(pictures, EncodedPictures):
            raise UserError(
                f"the class folders of data.val_split are named by number, {min(numbers)} to {max(numbers)} "
                f"({len(numbers)} folders); {weights} knows {len(known)} classes, so expected 0 to "
                f"{len(known) - 1}, each once, as in ImageNet-V2"
            )
        pictures.labels, pictures.classes = torch.tensor(numbers)[pictures.labels], list(known)
    if pictures.classes != known:
        raise UserError(
            f"{weights} knows {len(known)} classes, the data has {len(pictures.classes)}"
            f"{first_difference(known, pictures.classes)}; choose data.kind, data.root and data.val_split to "
            "match"
        )
