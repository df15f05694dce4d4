"""The confusion matrix of label maps, counted picture by picture in exact integers on the device they are on.

Row t, column p holds the pixels of class t that were predicted as p. Ignored pixels are in no cell.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foundation.errors import UserError
from segmentation.types import IGNORED
from training.devices import gather_objects

Counts = NDArray[np.int64]


def count_pixels(predictions: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """The confusion matrix (K, K) int64 of label maps, on their device.

    Args:
        predictions: whole numbers of any type, 0…K−1 wherever the truth is not `IGNORED`.
        labels: the truth, of the same shape, 0…K−1 or `IGNORED`.
        num_classes: K.
    Raises:
        UserError: a value is none of these.
        ValueError: the shapes differ, or the numbers are not whole.
    """
    if predictions.shape != labels.shape:
        raise ValueError(f"predictions are {tuple(predictions.shape)}, but labels {tuple(labels.shape)}")
    if any(values.is_floating_point() or values.is_complex() for values in (predictions, labels)):
        raise ValueError(f"label maps must be whole numbers, got {predictions.dtype} and {labels.dtype}")
    predicted, truth = predictions.reshape(-1), labels.reshape(-1)
    if truth.device.type == "cpu":
        counts = torch.from_numpy(count_runs(predicted.numpy(), truth.numpy(), num_classes))
    else:
        counts = count_pairs(predicted, truth, num_classes)
    return counts.reshape(num_classes, num_classes)


def count_runs(predicted: NDArray[np.integer], truth: NDArray[np.integer], num_classes: int) -> Counts:
    """(K²,) pixels of each pair, of flat label maps on the host.

    Neighbours along a row mostly have the same pair. So runs of equal pairs are counted with their lengths,
    which are the same integers in a seventh of the time. Below 2**53 bincount's float64 sums are exact.
    """
    if not len(truth):
        return np.zeros(num_classes * num_classes, dtype=np.int64)
    changes = (predicted[1:] != predicted[:-1]) | (truth[1:] != truth[:-1])
    starts = np.append(0, np.flatnonzero(changes) + 1)
    lengths = np.diff(starts, append=len(truth))
    counted = truth[starts] != IGNORED
    starts, lengths = starts[counted], lengths[counted]
    predicted, truth = predicted[starts].astype(np.int64), truth[starts].astype(np.int64)
    for what, values in (("the truth", truth), ("a prediction", predicted)):
        wrong = values[(values < 0) | (values >= num_classes)]
        if len(wrong):
            raise _out_of_range(what, int(wrong[0]), num_classes)
    return np.bincount(truth * num_classes + predicted, lengths, num_classes * num_classes).astype(np.int64)


def count_pairs(predicted: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """(K²,) pixels of each pair, of flat label maps on a device: those ignored fall into one more bin."""
    counted, cells = truth != IGNORED, num_classes * num_classes
    predicted, truth = predicted.long(), truth.long()
    for what, values in (("the truth", truth), ("a prediction", predicted)):
        wrong = counted & ((values < 0) | (values >= num_classes))
        if wrong.any():
            raise _out_of_range(what, int(values[wrong][0]), num_classes)
    pairs = torch.where(counted, truth * num_classes + predicted, cells)
    return torch.bincount(pairs, minlength=cells + 1)[:cells]


def _out_of_range(what: str, value: int, num_classes: int) -> UserError:
    ignored = f" or {IGNORED} (ignored)" if what == "the truth" else ""
    return UserError(
        f"{what} holds the class {value}, expected 0 to {num_classes - 1}{ignored}: label maps hold the "
        "index of a class in the data set's list"
    )


class PictureCounts(NamedTuple):
    """What the IoU of other choices of the same pictures needs: 3 K numbers a picture instead of K².

    Attributes:
        hits: (N, K) pixels of each picture that are of a class and predicted as it.
        truth: (N, K) pixels that are of a class.
        predicted: (N, K) pixels that are predicted as a class and not ignored.
    """

    hits: Counts
    truth: Counts
    predicted: Counts

    def total(self) -> "PictureCounts":
        """All pictures as one, (1, K)."""
        return PictureCounts(*(counts.sum(axis=0, keepdims=True) for counts in self))


def picture_counts(matrix: Tensor) -> Tensor:
    """(3, K) int64 hits, truth and predicted of one picture's confusion matrix, on its device."""
    return torch.stack([matrix.diagonal(), matrix.sum(dim=1), matrix.sum(dim=0)])


class ConfusionMatrix:
    """Counts pictures as they come, and keeps beside the matrix what a bootstrap needs of each.

    Nothing is copied from the device before `merged` and `merged_pictures`.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._matrix: Tensor | None = None
        self._pictures: list[Tensor] = []

    def add(self, prediction: Tensor, labels: Tensor) -> None:
        """Counts one picture: its predicted and its true label map (H, W); errors as of `count_pixels`."""
        counts = count_pixels(prediction, labels, self.num_classes)
        self._matrix = counts if self._matrix is None else self._matrix + counts
        self._pictures.append(picture_counts(counts))

    def merged(self) -> Counts:
        """(K, K) int64 of the pictures of all processes, the same in each: whole numbers add up exactly."""
        empty = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64)
        own = empty if self._matrix is None else self._matrix.cpu()
        return np.sum(gather_objects(own.numpy()), axis=0)

    def merged_pictures(self) -> PictureCounts:
        """The pictures of all processes by rank: contiguous shares are in the set's order."""
        empty = torch.zeros(0, 3, self.num_classes, dtype=torch.int64)
        own = torch.stack(self._pictures).cpu() if self._pictures else empty
        pictures = np.concatenate(gather_objects(own.numpy()))
        return PictureCounts(*pictures.transpose(1, 0, 2))
