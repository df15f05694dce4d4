"""Which boxes learn what: matching with the ground truth, and the random choice of a fixed number of them.

Everything keeps its shape and stays on the device. The choice is a pure function of the picture's seed.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from detection.model.boxes import encode_boxes


class Matches(NamedTuple):
    """What R boxes of N pictures learn: neither positive nor negative means nothing.

    best (N, R) int64 is the object with the largest IoU; positive and negative are (N, R) bool.
    """

    best: Tensor
    positive: Tensor
    negative: Tensor


class Sample(NamedTuple):
    """The boxes chosen to learn from, S per picture, the positive ones first.

    rows (N, S) int64 are their places among all boxes of the picture; positive and valid are (N, S) bool,
    valid False where there were too few.
    """

    rows: Tensor
    positive: Tensor
    valid: Tensor


class Regions(NamedTuple):
    """The regions to train on, R per picture: boxes, targets (N, R, 4), labels (N, R) with 0 for background.

    Those that are objects come first.
    objects (N, R) int64 says which object of the picture each should become. valid (N, R) bool is False where
    there were too few; what stands there must not be counted.
    """

    boxes: Tensor
    labels: Tensor
    targets: Tensor
    objects: Tensor
    valid: Tensor

    @property
    def positive(self) -> Tensor:
        """(N, R) bool, regions that are objects."""
        return self.valid & (self.labels > 0)

    def first(self, count: int) -> "Regions":
        """The first regions of each picture."""
        return Regions(*(values[:, :count] for values in self))


def match(
    iou: Tensor,
    objects: Tensor,
    candidates: Tensor,
    *,
    positive_iou: float,
    negative_iou: float,
    negative_floor: float = 0.0,
    low_quality: bool = False,
) -> Matches:
    """Compares boxes with the objects of their picture (Ren et al. 2015, §3.1.2; Girshick 2015, §2.3).

    Args:
        iou: (N, G, R) of objects and boxes.
        objects: (N, G) bool, False for padding. Without any object every candidate is negative.
        candidates: (N, R) bool, boxes that may count as anything.
        positive_iou: positive from this IoU with any object on.
        negative_iou: negative below this IoU with every object.
        negative_floor: but not below this one (Girshick 2015 leaves easy negatives out with 0.1).
        low_quality: an object's best candidates, ties included, are positive whatever their IoU, unless zero.
    """
    iou = iou.masked_fill(~(objects[:, :, None] & candidates[:, None]), -1.0)
    value, best = iou.max(dim=1)
    positive = value >= positive_iou
    if low_quality:
        best_of_object = iou.amax(dim=2, keepdim=True)
        # An object that touches no candidate has best 0, which would make positives of all the others.
        positive = positive | ((iou == best_of_object) & (best_of_object > 0)).any(dim=1)
    easy = (value < negative_floor) & (value >= 0)
    negative = candidates & (value < negative_iou) & ~easy & ~positive
    return Matches(best, positive, negative)


def sample(matches: Matches, keys: Tensor, count: int, positive_fraction: float) -> Sample:
    """Chooses count boxes per picture, at most a fraction of them positive; fewer where there are fewer.

    Those with the smallest keys win: (N, R) int64, distinct within a picture.
    """
    positives, positive = _smallest(keys, matches.positive, int(count * positive_fraction))
    negatives, negative = _smallest(keys, matches.negative, count)
    room = count - positive.sum(dim=1, keepdim=True)
    negative = negative & (torch.arange(negative.shape[1], device=keys.device) < room)
    rows, valid = torch.cat([positives, negatives], dim=1), torch.cat([positive, negative], dim=1)
    order = valid.int().argsort(dim=1, descending=True, stable=True)[:, :count]
    positive = torch.cat([positive, torch.zeros_like(negative)], dim=1)
    return Sample(*(values.gather(1, order) for values in (rows, positive, valid)))


def _smallest(keys: Tensor, wanted: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Rows (N, count) of the wanted boxes with the smallest keys, and whether there are as many."""
    count = min(count, keys.shape[1])
    last = torch.iinfo(keys.dtype).max
    rows = keys.masked_fill(~wanted, last).topk(count, dim=1, largest=False).indices
    return rows, wanted.gather(1, rows)


def box_targets(
    objects: Tensor,
    owners: Tensor,
    boxes: Tensor,
    positive: Tensor,
    *,
    weights: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """What the regressor of each box should say, with weights as for encode_boxes.

    Args:
        objects, boxes: (N, G, 4) and (N, R, 4) xyxy, pixels.
        owners, positive: (N, R), the object of each box, and whether it is one.
    Returns:
        (N, R, 4), zeros for boxes that are not positive.
    """
    targets = encode_boxes(objects.take_along_dim(owners[..., None], dim=1), boxes, weights=weights)
    # Padding has no area, so that its targets are infinite or NaN.
    return targets.masked_fill(~positive[..., None], 0)


def sampled_mean(losses: Tensor, counted: Tensor, sampled: Tensor) -> Tensor:
    """Per picture, losses of the counted boxes over the number of sampled ones; then the mean over pictures.

    A picture weighs the same however a batch is split over processes and accumulation steps. All are (N, R).
    """
    totals = losses.masked_fill(~counted, 0).sum(dim=1)
    return (totals / sampled.sum(dim=1).clamp(min=1)).mean()


def random_keys(seeds: Tensor, numbers: Tensor, *, stream: int) -> Tensor:
    """Random integers that depend on the picture's seed, the number and the stream alone, on every device.

    Seeds (N,) and different numbers (R,), int64, give (N, R) int64, distinct within a picture. Different
    streams give independent integers for the same seed.
    """
    start = _mix(_mix(seeds) + stream)
    return _mix(start[:, None] + (numbers + 1) * _GOLDEN)


# splitmix64 (Steele, Lea, Flood 2014); int64 arithmetic wraps, as the unsigned original does.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def _mix(x: Tensor) -> Tensor:
    """splitmix64's finaliser, a bijection of 64-bit integers."""
    x = (x ^ _shift_right(x, 30)) * _FIRST
    x = (x ^ _shift_right(x, 27)) * _SECOND
    return x ^ _shift_right(x, 31)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shifts zeros in, where >> repeats the sign."""
    return (x >> bits) & (2 ** (64 - bits) - 1)
