"""The splits of a data set, opened for training, or for a network in the order of the classes it knows."""

import logging
import re
from pathlib import Path

import torch

from backbones import WeightsHeader
from classification.data.class_folders import FolderReader, is_flat, pictures_in
from classification.data.data_sets import OPENERS, DataConfig, PictureReader
from classification.data.encoded_pictures import EncodedPictures
from classification.data.labelled_batches import Pictures
from foundation.errors import UserError, first_difference

logger = logging.getLogger(__name__)

IMAGENET_CLASSES = 1000


def open_split(config: DataConfig, *, training: bool) -> Pictures:
    """The training split with augmentation, or the validation split; a UserError if it is not whole."""
    split = config.train_split if training else config.val_split
    opened = OPENERS[config.kind](config, split, training)
    return EncodedPictures(opened, config, training=training) if isinstance(opened, PictureReader) else opened


def open_pictures(config: DataConfig, header: WeightsHeader) -> Pictures:
    """data.val_split as it is; in a folder without class folders, the network's classes and no labels."""
    folder = config.folder("imagenet") / config.val_split
    if config.kind != "folder" or not is_flat(folder):
        return open_split(config, training=False)
    (paths,) = pictures_in([folder])
    unknown = torch.full((len(paths),), -1)
    return EncodedPictures(FolderReader(class_names(header), unknown, paths), config, training=False)


def open_validation(weights: str | Path, header: WeightsHeader, config: DataConfig) -> Pictures:
    """data.val_split with the classes of the network, normalised as it wants it.

    Raises:
        UserError: the data are missing, or of other classes.
    """
    pictures = open_pictures(config, header)
    match_classes(weights, header, pictures)
    pictures.adopt(header.input_spec)
    return pictures


def class_names(header: WeightsHeader) -> list[str]:
    """What the outputs of a network are called: as its header says, by ImageNet's words, or by number."""
    outputs = header.options.get("num_classes", 0)
    if header.classes:
        return list(header.classes)
    if header.dataset == "ImageNet" and outputs == IMAGENET_CLASSES:
        from torchvision.models import ResNet50_Weights  # only here: importing all its networks takes a while

        return list(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
    return [str(number) for number in range(outputs)]


def match_classes(weights: str | Path, header: WeightsHeader, pictures: Pictures) -> None:
    """Makes the labels of pictures those of a network.

    Folders that are named 0, 1, 2, … are the numbers of the classes (ImageNet-V2). A converted network of
    others names no classes: those of the data are taken, in their order, if there are as many. Folders that
    are a part of ImageNet's belong, by name, to outputs of a network for all of it.

    Raises:
        UserError: the classes are others, or the same in another order.
    """
    known = header.classes or _classes_of_outputs(weights, header, pictures.classes)
    if pictures.classes != known:
        numbers = _outputs_of(weights, header, pictures.classes, known)
        if numbers is None or not isinstance(pictures, EncodedPictures):
            raise UserError(
                f"{weights} knows {len(known)} classes, the data has {len(pictures.classes)}"
                f"{first_difference(known, pictures.classes)}; choose data.kind, data.root and "
                "data.val_split to match"
            )
        pictures.labels, pictures.classes = torch.tensor(numbers)[pictures.labels], list(known)


def _outputs_of(
    weights: str | Path, header: WeightsHeader, folders: list[str], known: list[str]
) -> list[int] | None:
    """Which output each folder belongs to, where the names of the folders tell that; else None."""
    if all(re.fullmatch(r"\d+", name) for name in folders):
        numbers = [int(name) for name in folders]
        if sorted(numbers) != list(range(len(known))):
            raise UserError(
                f"the class folders of data.val_split are named by number, {min(numbers)} to {max(numbers)} "
                f"({len(numbers)} folders); {weights} knows {len(known)} classes, so expected 0 to "
                f"{len(known) - 1}, each once, as in ImageNet-V2"
            )
        return numbers
    return None if header.classes else [known.index(name) for name in folders]


def _classes_of_outputs(weights: str | Path, header: WeightsHeader, folders: list[str]) -> list[str]:
    """The names of the outputs of a network that names none, from the data's classes; logged."""
    outputs, imagenet = header.options.get("num_classes", 0), list[str]()
    numbered = [str(number) for number in range(outputs)]
    if all(re.fullmatch(r"n\d{8}", name) for name in folders) and outputs == IMAGENET_CLASSES:
        imagenet = folders if len(folders) == outputs else imagenet_folders()
    if sorted(folders) == sorted(numbered):
        known, order = numbered, "by number"
    elif len(folders) == outputs:
        known, order = folders, f"in their order, from {folders[0]!r} to {folders[-1]!r}"
    elif set(folders) <= set(imagenet):
        known, order = imagenet, f"in ImageNet's order; {outputs - len(folders)} outputs are of no class here"
    else:
        raise UserError(
            f"{weights} has {outputs} outputs, the data {len(folders)} classes, and nothing says which are "
            "which; choose data.kind, data.root and data.val_split to match"
        )
    logger.info("%s names no classes: those of the data are its outputs, %s", weights, order)
    return list(known)


def imagenet_folders() -> list[str]:
    """The 1,000 classes of ImageNet as its folders are named, in order; a UserError without timm."""
    try:
        from timm.data import ImageNetInfo
    except ModuleNotFoundError as error:
        raise UserError(
            f"a part of ImageNet's classes needs timm's list of all of them ({error}); "
            "pip install 'residual-backbones[timm]'"
        ) from error
    return list(ImageNetInfo("imagenet-1k").label_names())
