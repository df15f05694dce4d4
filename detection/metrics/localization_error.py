"""The error of ILSVRC's localization task, as its development kit counts it (eval_clsloc.m, 2015).

A picture has one class, and boxes around every object of it. Of at most five guesses, each a class and a box,
one must name the class and overlap one of these boxes by at least a half.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from detection.metrics.matching import Flags, Floats, Indices, Rows, flatten_all, overlap_most
from detection.types import Prediction, Target
from foundation.errors import UserError

GUESSES = 5  # of the challenge
_CLASSES = 2**31  # more than there are: labels are only compared


@dataclass(frozen=True)
class LocalizationScores:
    """What `evaluate` found, of N pictures and at most M guesses.

    Attributes:
        localization_wrong: (N,) no guess has class and box right.
        classification_wrong: (N,) no guess has the class right.
        counted: (N,) not left out.
        localization_errors, classification_errors: (M,) mean over the counted pictures by the number of
            guesses, 1 to M; NaN where none counts. The last ones are the errors of the task.
        all_classification_errors: (M,) over all pictures, also those left out, as the kit prints it.
    """

    localization_wrong: Flags
    classification_wrong: Flags
    counted: Flags
    localization_errors: Floats
    classification_errors: Floats
    all_classification_errors: Floats

    @property
    def wrong(self) -> Flags:
        """(C,) `localization_wrong` of the counted pictures, for `bootstrap.bootstrap_mean`."""
        return self.localization_wrong[self.counted]

    @property
    def misclassified(self) -> Flags:
        """(C,) `classification_wrong` of the counted pictures."""
        return self.classification_wrong[self.counted]

    @property
    def error(self) -> float:
        """The localization error with all guesses, 0…1."""
        return float(self.localization_errors[-1])


def evaluate(
    guesses: Sequence[Prediction],
    targets: Sequence[Target],
    image_labels: Sequence[int],
    *,
    left_out: Collection[int] = (),
    iou_threshold: float = 0.5,
    most: int = GUESSES,
) -> LocalizationScores:
    """Scores the guesses of each picture.

    Args:
        guesses: the rows of a picture are its guesses, the best first, whatever their scores say. Those
            beyond `most` are not looked at.
        targets: the boxes; those of other classes than the picture's do not matter, and `ignore` neither.
        image_labels: the class of each picture, 1…K.
        left_out: numbers of pictures from 0 that do not count, the kit's blacklist.
        iou_threshold: least overlap of a right box.
        most: M.
    Raises:
        UserError: the lengths differ, a number is impossible, or a label is below 1.
    """
    _check_arguments(guesses, targets, image_labels, iou_threshold, most)
    labels = np.array(image_labels, dtype=np.int64)
    found, _, truth, _ = flatten_all(guesses, targets, _CLASSES)
    # Two classes are enough, the picture's own and all others; a thousand would need a number for each pair.
    found, truth = (
        replace(rows, labels=np.where(rows.labels == labels[rows.pictures], 1, 2), num_classes=2)
        for rows in (found, truth)
    )
    named = (found.labels == 1) & (found.places < most)
    _, overlap = overlap_most(found, truth)
    first_named = _first_place(found, named, most)
    first_right = _first_place(found, named & (overlap >= iou_threshold), most)
    counted = np.ones(len(labels), dtype=bool)
    counted[[*left_out]] = False
    return LocalizationScores(
        localization_wrong=first_right == most,
        classification_wrong=first_named == most,
        counted=counted,
        localization_errors=_errors(first_right, counted, most),
        classification_errors=_errors(first_named, counted, most),
        all_classification_errors=_errors(first_named, np.ones_like(counted), most),
    )


def _check_arguments(
    guesses: Sequence[Prediction],
    targets: Sequence[Target],
    image_labels: Sequence[int],
    iou_threshold: float,
    most: int,
) -> None:
    _check_lengths(len(guesses), targets, image_labels)
    if not 0 < iou_threshold <= 1:
        raise UserError(f"iou_threshold must be above 0 and at most 1, got {iou_threshold}")
    if most < 1:
        raise UserError(f"most must be 1 or more guesses, got {most}")
    if min(image_labels, default=1) < 1:
        raise UserError(f"image_labels must be 1…K, got {min(image_labels)}")


def _check_lengths(guessed: int, targets: Sequence[Target], image_labels: Sequence[int]) -> None:
    if not guessed == len(targets) == len(image_labels):
        raise UserError(
            f"{guessed} pictures with guesses, {len(targets)} targets and {len(image_labels)} classes; "
            "expected one of each per picture"
        )


def whole_picture_error(
    targets: Sequence[Target], image_labels: Sequence[int], *, left_out: Collection[int] = ()
) -> LocalizationScores:
    """The error of one guess a picture, its true class and the whole picture as the box.

    A localization network is of use if its error is lower. Arguments and errors are those of `evaluate`.
    """
    _check_lengths(len(targets), targets, image_labels)
    guesses = [
        Prediction(torch.tensor([[0.0, 0.0, width, height]]), torch.tensor([label]), torch.ones(1), None)
        for (height, width), label in zip([target.size for target in targets], image_labels, strict=True)
    ]
    return evaluate(guesses, targets, image_labels, left_out=left_out, most=1)


def _first_place(found: Rows, right: Flags, most: int) -> Indices:
    """(N,) the place of the first right guess of each picture, from 0; `most` without one."""
    first = np.full(found.num_pictures, most)
    np.minimum.at(first, found.pictures[right], found.places[right])
    return first


def _errors(first: Indices, counted: Flags, most: int) -> Floats:
    """(M,) the share of the counted pictures that have no right guess among the first 1 to M."""
    if not counted.any():
        return np.full(most, np.nan)
    return (first[counted][:, None] >= np.arange(1, most + 1)).mean(axis=0)
