"""What a detector called from Python gives for one picture."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detection.metrics.record_checks import Record
from detection.results.pasted_masks import decode_mask
from detection.results.prediction_drawing import draw
from detection.results.result_records import to_coco_records
from detection.types import Prediction
from foundation.errors import UserError

_SHOWN = 10  # objects in repr


class FoundObject(NamedTuple):
    """One object: its class by name and label 1…K, its probability, its box x1, y1, x2, y2 in pixels."""

    name: str
    label: int
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False, repr=False)
class DetectionResult:
    """The objects of one picture, best first; boxes and masks are in the picture's pixels, on the CPU.

    Iterating gives one `FoundObject` after the other, `len` is their number R.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, the picture.
        prediction: what was found, as evaluation sees it; masks are run-lengths.
        classes: names of the labels 1…K.
        category_ids: their ids in the training set.
    """

    pixels: NDArray[np.uint8]
    prediction: Prediction
    classes: list[str]
    category_ids: list[int]

    @property
    def boxes(self) -> Tensor:
        """(R, 4) float32, x1, y1, x2, y2 with the origin at the top-left corner."""
        return self.prediction.boxes

    @property
    def scores(self) -> Tensor:
        """(R,) float32, probabilities."""
        return self.prediction.scores

    @property
    def labels(self) -> Tensor:
        """(R,) int64, 1…K."""
        return self.prediction.labels

    @property
    def names(self) -> list[str]:
        """The class of each object."""
        return [self.classes[label - 1] for label in self.labels.tolist()]

    @cached_property
    def masks(self) -> NDArray[np.bool_] | None:
        """(R, H, W), or None of a detector without masks; made when it is asked for the first time."""
        if self.prediction.masks is None:
            return None
        masks = [decode_mask(mask) for mask in self.prediction.masks]
        return np.stack(masks) if masks else np.zeros((0, *self.pixels.shape[:2]), dtype=bool)

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[FoundObject]:
        rows = zip(self.names, self.labels.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True)
        return (FoundObject(name, label, score, tuple(box)) for name, label, score, box in rows)

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        found = [f"{one.name} {one.score:.2f}" for one in islice(self, _SHOWN)]
        more = f" and {len(self) - _SHOWN} more" if len(self) > _SHOWN else ""
        objects = f"{len(self)} object{'s' * (len(self) != 1)}"
        listed = f": {', '.join(found)}{more}" if found else ""
        return f"DetectionResult({objects} in {width}x{height} pixels{listed})"

    def draw(self) -> Image.Image:
        """The picture with a box, class and score for each object, and its mask if it has one."""
        return draw(self.pixels, self.prediction, self.classes, score_threshold=0.0)

    def to_coco(self, image_id: int | str = 0) -> list[Record]:
        """COCO result records with the training set's ids of the classes; see `result_records`."""
        return to_coco_records([replace(self.prediction, image_id=image_id)], self)

    def to_supervision(self) -> Any:
        """`supervision.Detections`: class_id is a label less 1, so that `classes[class_id]` is the name.

        Raises:
            UserError: the package supervision is not installed.
        """
        try:
            supervision = importlib.import_module("supervision")
        except ModuleNotFoundError as error:
            raise UserError(
                f"to_supervision() needs supervision ({error}); pip install supervision"
            ) from None
        return supervision.Detections(
            xyxy=self.boxes.numpy(),
            mask=self.masks,
            confidence=self.scores.numpy(),
            class_id=self.labels.numpy() - 1,
            data={"class_name": np.array(self.names, dtype=str)},
        )
