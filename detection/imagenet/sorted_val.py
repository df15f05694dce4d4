"""CLS-LOC's val in class folders, as classifiers read it: the archive has all its pictures in one folder."""

import os
from pathlib import Path

from detection.imagenet.ilsvrc_dataset import IlsvrcDataset
from detection.imagenet.ilsvrc_places import IlsvrcPlaces
from detection.imagenet.ilsvrc_split import IlsvrcSplit
from foundation.errors import UserError

SORTED = "val_sorted"  # beside val


def sort_val(root: Path) -> Path:
    """Links every picture of val into the folder of its class; a class of no picture has an empty one.

    Returns:
        The folder, Data/CLS-LOC/val_sorted.
    Raises:
        UserError: it exists, val cannot be read, or the file system has no symbolic links.
    """
    places = IlsvrcPlaces(root, "CLS-LOC")
    dataset = IlsvrcDataset([IlsvrcSplit(places, "val")])
    pictures = [dataset.image_path(index) for index in range(len(dataset))]
    folder = pictures[0].parent.with_name(SORTED)
    if folder.exists():
        raise UserError(f"{folder} exists, and is not changed; remove it to sort val anew")
    for wnid in dataset.classes:
        (folder / wnid).mkdir(parents=True)
    for picture, label in zip(pictures, dataset.image_labels, strict=True):
        link = folder / dataset.classes[label - 1] / picture.name
        try:
            link.symlink_to(os.path.relpath(picture, link.parent))
        except OSError as error:
            raise UserError(
                f"{link} cannot be made ({error.strerror}); sort val where there are symbolic links, or "
                "move the pictures yourself"
            ) from error
    return folder
