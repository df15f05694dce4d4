"""The pictures of a training in semantic segmentation: first batches, validation pictures, classes."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from foundation.file_naming import portable_name
from pictures.decoding import load_image
from pictures.run_pictures.drawn_runs import RunPictures, handful, save_picture
from pictures.run_pictures.label_statistics import draw_class_counts
from pictures.run_pictures.picture_grid import as_grid, captioned, fitting
from segmentation.results.label_colours import tinted
from segmentation.types import IGNORED, Batch, SegmentationDataset

SHOWN = 6  # validation pictures
IN_GRID, COLUMNS, SIDE = 16, 4, 400  # pictures of a training batch, in a row, and pixels of a long side
MOST_COUNTED = 2000  # label maps whose pixels are counted; of larger sets every second, third, …


class SegmenterPictures:
    """Draws the pictures of a training; see `RunPictures`."""

    def __init__(self, out: Path, training: SegmentationDataset, validation: SegmentationDataset) -> None:
        """The validation pictures to be shown are a fixed handful, whatever else is in the set."""
        self.training, self.validation = training, validation
        self.shown = handful(map(validation.image_id, range(len(validation))), SHOWN)
        self.found: dict[int, NDArray[np.uint8]] = {}  # by number of the validation picture
        self.pictures = RunPictures(out, self._draw_validation)
        self.draw = self.pictures.draw

    def of_start(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches of a training from its first step on; the first ones are drawn as they pass."""
        return self.pictures.of_start(batches, draw_batch, self._draw_labels)

    def keep(self, index: int, labels: torch.Tensor) -> None:
        """Remembers what the last evaluation found in a picture, if it is to be shown."""
        if index in self.shown:
            self.found[index] = labels.cpu().numpy()

    def _draw_validation(self, folder: Path) -> None:
        """What was found on the left, the truth on the right."""
        for number, (index, labels) in enumerate(sorted(self.found.items()), start=1):
            truth = self.validation.load_labels(index)
            image = load_image(self.validation.image_path(index), (truth.shape[0], truth.shape[1]))
            both = Image.fromarray(np.concatenate([tinted(image, labels), tinted(image, truth)], axis=1))
            name = portable_name(f"{number}_{self.validation.image_id(index)}", ".jpg")
            save_picture(fitting(both, 4 * SIDE)[0], folder / name)

    def _draw_labels(self, out: Path) -> None:
        sets = {"training": self.training, "validation": self.validation}
        counts = {name: class_counts(dataset) for name, dataset in sets.items()}
        draw_class_counts(counts, self.training.classes, out / "labels", what="pixels")


def class_counts(dataset: SegmentationDataset) -> NDArray[np.int64]:
    """(K,) pixels of each class in the label maps, of a large set in every second, third, …"""
    counts = np.zeros(IGNORED + 1, dtype=np.int64)
    for index in range(0, len(dataset), max(1, -(-len(dataset) // MOST_COUNTED))):
        counts += np.bincount(dataset.load_labels(index).ravel(), minlength=IGNORED + 1)
    return counts[: len(dataset.classes)]


def draw_batch(batch: Batch) -> Image.Image:
    """The first pictures of a batch as the network sees them, with their classes in colour."""
    cells = []
    for index, image_id in enumerate(batch.ids[:IN_GRID]):
        image = batch.images[index].permute(1, 2, 0).numpy()
        picture = Image.fromarray(tinted(image, batch.labels[index].numpy()))
        cells.append(captioned(fitting(picture, SIDE)[0], image_id, "black", 0))
    return as_grid(cells, COLUMNS)
