"""What a network for semantic segmentation gives for one picture, called from Python."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segmentation.data.label_maps import Labels
from segmentation.results.label_colours import draw_legend, tinted

_SHOWN = 10  # classes in repr


@dataclass(frozen=True, eq=False, repr=False)
class SegmentedPicture:
    """A picture and the class of each of its pixels.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, the picture.
        labels: (H, W) uint8, 0…K−1.
        classes: K names in the order of the labels.
    """

    pixels: NDArray[np.uint8]
    labels: Labels
    classes: list[str]

    @property
    def shares(self) -> dict[str, float]:
        """Each class's share of the pixels, in the order of the labels; they add up to 1."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        return dict(zip(self.classes, (counts / self.labels.size).tolist(), strict=True))

    @property
    def names(self) -> list[str]:
        """The classes that occur, the largest first."""
        shares = self.shares
        return sorted((name for name in shares if shares[name] > 0), key=lambda name: -shares[name])

    def mask(self, name: str) -> NDArray[np.bool_]:
        """(H, W), where the class of this name is; ValueError where there is none of this name."""
        return self.labels == self.classes.index(name)

    def __repr__(self) -> str:
        height, width = self.labels.shape
        names, shares = self.names, self.shares
        found = [f"{name} {100 * shares[name]:.0f} %" for name in islice(names, _SHOWN)]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"SegmentedPicture({width}x{height} pixels: {', '.join(found)}{more})"

    def draw(self) -> Image.Image:
        """The picture under the colours of its classes, which a legend names; class 0 has no colour."""
        return draw_legend(Image.fromarray(tinted(self.pixels, self.labels)), self.labels, self.classes)
