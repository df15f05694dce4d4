"""Predicted label maps as a folder of PNG files, one a picture, called as it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError, plural
from segmentation.data.label_maps import read_label_map
from segmentation.types import IGNORED, SegmentationDataset


def mask_name(image_id: str) -> str:
    """The file of a picture's label map: ids may have folders."""
    return f"{image_id}.png"


def check_masks(folder: Path, dataset: SegmentationDataset) -> None:
    """Refuses, with a UserError, a folder that lacks a prediction of a picture."""
    if not folder.is_dir():
        raise UserError(f"no folder {folder.absolute()}; expected a PNG of indices for each picture")
    ids = list(map(dataset.image_id, range(len(dataset))))
    missing = [
        folder / mask_name(image_id) for image_id in ids if not (folder / mask_name(image_id)).is_file()
    ]
    if missing:
        raise UserError(
            f"{missing[0]} is missing, and {plural(len(missing), 'prediction')} of {len(ids)} in all; "
            "expected a PNG of indices for each picture, called as the picture"
        )


def read_prediction(
    folder: Path, image_id: str, size: tuple[int, int], classes: Sequence[str]
) -> NDArray[np.uint8]:
    """A predicted label map of a picture (height, width).

    Raises:
        UserError: it is no PNG of indices, of another size, or has an index of no class.
    """
    file = folder / mask_name(image_id)
    labels = read_label_map(file)
    if labels.shape != size:
        raise UserError(
            f"{file} is {labels.shape[0]}x{labels.shape[1]} (height x width), its picture "
            f"{size[0]}x{size[1]}; write predictions of the picture's own size"
        )
    wrong = np.unique(labels[(labels >= len(classes))])
    if len(wrong):
        ignored = ", and a prediction may leave out no pixel" if wrong[0] == IGNORED else ""
        raise UserError(
            f"{file} has the index {wrong[0]}, expected 0 to {len(classes) - 1}{ignored}; write the index of "
            "each pixel's class"
        )
    return labels
