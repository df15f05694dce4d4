"""What a recipe depends on of a training set: its size, the sides of its pictures, its boxes and masks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from detection.data.annotations import DetectionDataset
from detection.data.dataset_splits import DataConfig
from detection.layouts.picture_places import require_folder
from detection.own_sets.dataset_kinds import DATASETS
from detection.own_sets.kind_guess import guess_kind
from detection.own_sets.split_opener import SplitOpener
from foundation.errors import UserError


@dataclass(frozen=True)
class SetFacts:
    """A training set in numbers.

    Attributes:
        classes: how many.
        sides: (N, 2) short and long side of every picture, pixels.
        boxes: (T, 2) width and height of every object's box, pixels; those without area are left out.
        owners: (T,) the picture of each box.
        masks: whether every object of the training and the validation pictures has a mask.
    """

    classes: int
    sides: NDArray[np.float64]
    boxes: NDArray[np.float64]
    owners: NDArray[np.int64]
    masks: bool

    @property
    def pictures(self) -> int:
        """How many."""
        return len(self.sides)

    @property
    def median_sides(self) -> tuple[float, float]:
        """Of the short and of the long sides."""
        short, long = np.median(self.sides, axis=0)
        return float(short), float(long)

    def resized_boxes(self, short_side: int, max_side: int) -> NDArray[np.float64]:
        """(T, 2) width and height of the boxes in pixels of the resized pictures."""
        scales = np.minimum(short_side / self.sides[:, 0], max_side / self.sides[:, 1])
        return self.boxes * scales[self.owners][:, None]


def survey_set(config: DataConfig, opened: SplitOpener) -> SetFacts:
    """Opens the training set, with masks if it has them; a UserError if it is not as needed, or empty."""
    masks = True
    try:
        for split in (config.val, config.train):
            dataset = opened(config, split, masks=True)
    except UserError:  # raised again below unless it is for want of masks
        masks = False
        for split in (config.val, config.train):
            dataset = opened(config, split)
    if len(dataset) == 0:
        raise UserError(f"{config.train} of {config.root} has no pictures; expected at least one to train on")
    sides = np.sort(np.array(dataset.image_sizes, dtype=np.float64).reshape(-1, 2), axis=1)
    boxes, owners = _boxes(dataset)
    return SetFacts(len(dataset.classes), sides, boxes, owners, masks and len(boxes) > 0)


def _boxes(dataset: DetectionDataset) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    targets = [dataset.load_target(index) for index in range(len(dataset))]  # which are not kept
    corners = torch.cat([target.boxes for target in targets]).double().numpy()
    owners = np.repeat(np.arange(len(targets)), [len(target.boxes) for target in targets])
    sizes = corners[:, 2:] - corners[:, :2]
    real = (sizes > 0).all(axis=1)
    return sizes[real], owners[real]


def kind_of(root: Path) -> str:
    """The kind of the data set in a folder, a UserError that names the kinds if it looks like none."""
    kind = guess_kind(root)
    if kind is None:
        require_folder("data.root", root)
        kinds = "|".join(name for name, entry in DATASETS.items() if entry.find is not None)
        raise UserError(
            f"{root.absolute()} looks like no data set that is known; say what it is: data.kind={kinds}"
        )
    return kind
