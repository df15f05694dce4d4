"""The pictures of a detector's training: its first batches, its validation pictures, its labels."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detection.data.annotations import DetectionDataset
from detection.results.prediction_drawing import draw, draw_objects
from detection.types import Batch, Prediction
from foundation.file_naming import portable_name
from pictures.class_colours import class_colour
from pictures.decoding import load_image
from pictures.run_pictures.drawn_runs import RunPictures, handful, save_picture
from pictures.run_pictures.label_statistics import draw_box_statistics
from pictures.run_pictures.picture_grid import as_grid, captioned, fitting

SHOWN = 6  # validation pictures
LEAST_SCORE = 0.3  # of the detections drawn on them
LONGEST = 1600  # pixels of a validation picture's sides, with the truth beside it
IN_GRID, COLUMNS, SIDE = 16, 4, 400  # pictures of a training batch, in a row, and pixels of a long side
MOST_COUNTED = 20_000  # pictures whose objects are counted; of larger sets every second, third, …


class DetectorPictures:
    """Draws the pictures of a training; see `RunPictures`."""

    def __init__(self, out: Path, training: DetectionDataset, validation: DetectionDataset) -> None:
        """The validation pictures to be shown are a fixed handful, whatever else is in the set."""
        self.training, self.validation = training, validation
        self.found: dict[int, Prediction] = {}  # by number of the validation picture
        self.pictures = RunPictures(out, self._draw_validation)
        self.draw = self.pictures.draw

    def of_start(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches of a training from its first step on; the first ones are drawn as they pass."""
        return self.pictures.of_start(
            batches, lambda batch: draw_batch(batch, self.training.classes), self._draw_labels
        )

    def keep(self, predictions: Sequence[Prediction]) -> None:
        """Remembers what the last evaluation found, of the pictures to be shown."""
        self.found = {index: predictions[index] for index in handful(self.validation.image_ids, SHOWN)}

    def _draw_validation(self, folder: Path) -> None:
        """Detections on the left, the truth on the right."""
        classes = self.validation.classes
        for number, (index, prediction) in enumerate(self.found.items(), start=1):
            target = self.validation.load_target(index)
            image = load_image(self.validation.image_path(index), target.size)
            drawn = draw(image, prediction, classes, target=target, score_threshold=LEAST_SCORE)
            if max(drawn.size) > LONGEST:
                drawn, _ = fitting(drawn, LONGEST)
            save_picture(drawn, folder / portable_name(f"{number}_{target.image_id}", ".jpg"))

    def _draw_labels(self, out: Path) -> None:
        found = {"training": counted_objects(self.training), "validation": counted_objects(self.validation)}
        number = len(self.training.classes) + 1
        counts = {name: np.bincount(labels, minlength=number)[1:] for name, (_, labels, _) in found.items()}
        boxes, _, sizes = found["training"]
        what, pictures = f"{len(boxes):,} training objects", len(self.training)
        if pictures > MOST_COUNTED:
            what += f", those of every picture in {-(-pictures // MOST_COUNTED)}"
        draw_box_statistics(counts, self.training.classes, boxes, sizes, out / "labels", of=what)


def draw_batch(batch: Batch, classes: Sequence[str]) -> Image.Image:
    """The first pictures of a batch as the network sees them, padded, with what it is to find in them."""
    cells = []
    for index, image_id in enumerate(batch.ids[:IN_GRID]):
        whole = Image.fromarray(batch.images[index].permute(1, 2, 0).numpy())
        picture, scale = fitting(whole, SIDE)
        valid = batch.valid[index]
        labels = batch.labels[index][valid].tolist()
        masks = None
        if batch.masks is not None:
            masks = [_resized(packed, picture.size) for packed in batch.masks[index][valid].numpy()]
        texts, colours = [classes[label - 1] for label in labels], [class_colour(label) for label in labels]
        boxes = (batch.boxes[index][valid] * scale).tolist()
        cells.append(captioned(draw_objects(picture, boxes, texts, colours, masks), image_id, "black", 0))
    return as_grid(cells, COLUMNS)


def counted_objects(dataset: DetectionDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Objects that count: boxes (T, 4) xyxy, labels (T,), and their pictures' heights and widths (T, 2)."""
    boxes, labels, sizes = [np.zeros((0, 4))], [np.zeros(0, dtype=np.int64)], [np.zeros((0, 2))]
    for index in range(0, len(dataset), max(1, -(-len(dataset) // MOST_COUNTED))):
        target = dataset.load_target(index)
        kept = ~target.ignore.numpy()
        boxes.append(target.boxes.numpy()[kept])
        labels.append(target.labels.numpy()[kept])
        sizes.append(np.tile(np.array(target.size, dtype=float), (int(kept.sum()), 1)))
    return np.concatenate(boxes), np.concatenate(labels), np.concatenate(sizes)


def _resized(packed: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask of a batch, eight pixels in a byte, at the size (width, height) of a drawn picture."""
    mask = Image.fromarray(np.unpackbits(packed, axis=1).astype(bool))
    return np.asarray(mask.resize(size, Image.Resampling.NEAREST))
