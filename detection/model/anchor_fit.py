"""Whether anchors have the sizes and shapes of the objects they are to find."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

# COCO's limits of small and medium areas, here in pixels of the resized picture.
SIZES = (("small", 0.0, 32.0**2), ("medium", 32.0**2, 96.0**2), ("large", 96.0**2, np.inf))


@dataclass(frozen=True)
class AnchorFit:
    """How well the best of ideally placed anchors covers each box.

    Attributes:
        best: (T,) IoU of every box with its best anchor, both about the same centre. Real anchors stand on a
            grid, so that small objects meet less.
        sizes, ratios: as many as there are now, at even quantiles of the boxes.
        suggested: (T,) as `best`, with those.
    """

    boxes: NDArray[np.float64]
    best: NDArray[np.float64]
    sizes: tuple[float, ...]
    ratios: tuple[float, ...]
    suggested: NDArray[np.float64]

    def share(self, low: float, high: float = np.inf) -> float:
        """Of the boxes with low <= best < high."""
        return float(((self.best >= low) & (self.best < high)).mean())

    def lines(self) -> list[str]:
        """In words."""
        area = self.boxes.prod(axis=1)
        recall = [
            f"{name} {(self.best[chosen] >= 0.5).mean():.0%} of {chosen.sum():,}"
            for name, low, high in SIZES
            if (chosen := (area >= low) & (area < high)).any()
        ]
        sizes, ratios = (", ".join(f"{v:.3g}" for v in values) for values in (self.sizes, self.ratios))
        return [
            f"best IoU over ideally placed anchors: {self.share(0.7):.0%} of {len(self.best):,} boxes "
            f">= 0.7, {self.share(0.5):.0%} >= 0.5, {self.share(0, 0.3):.0%} < 0.3",
            f">= 0.5 by area after resizing (32², 96²): {', '.join(recall)}",
            f"even quantiles of the boxes: rpn.anchor_sizes=[{sizes}] rpn.anchor_ratios=[{ratios}] gives "
            f"{(self.suggested >= 0.7).mean():.0%} >= 0.7, {(self.suggested >= 0.5).mean():.0%} >= 0.5",
        ]


def fit_anchors(boxes: NDArray[np.float64], sizes: Sequence[float], ratios: Sequence[float]) -> AnchorFit:
    """The fit of anchors to boxes.

    Args:
        boxes: (T, 2) width and height in resized pixels, above 0; at least one.
        sizes: square roots of areas, pixels.
        ratios: height over width.
    """
    better_sizes, better_ratios = (
        tuple(np.quantile(values, (np.arange(count) + 0.5) / count).tolist())  # of equally many boxes each
        for values, count in (
            (np.sqrt(boxes.prod(axis=1)), len(sizes)),
            (boxes[:, 1] / boxes[:, 0], len(ratios)),
        )
    )
    best, suggested = best_iou(boxes, sizes, ratios), best_iou(boxes, better_sizes, better_ratios)
    return AnchorFit(boxes, best, better_sizes, better_ratios, suggested)


def best_iou(
    boxes: NDArray[np.float64], sizes: Sequence[float], ratios: Sequence[float]
) -> NDArray[np.float64]:
    """(T,) IoU of boxes (T, 2), width and height, with the best anchor about the same centre."""
    best = np.zeros(len(boxes))
    for size, ratio in product(sizes, ratios):
        anchor = np.array([size / ratio**0.5, size * ratio**0.5])
        shared = np.minimum(boxes, anchor).prod(axis=1)
        best = np.maximum(best, shared / (boxes.prod(axis=1) + anchor.prod() - shared))
    return best
