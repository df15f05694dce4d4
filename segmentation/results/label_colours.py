"""Label maps in colour over their pictures."""

import numpy as np
from numpy.typing import NDArray

from segmentation.data.label_maps import Labels, palette

OPACITY = 0.6  # of the classes' colours


def tinted(image: NDArray[np.uint8], labels: Labels) -> NDArray[np.uint8]:
    """A picture (H, W, 3) under the colours of its classes; class 0 has none, what is ignored is grey."""
    colours = palette()[labels].astype(np.float64)
    opacity = np.where(labels == 0, 0, OPACITY)[..., None]
    return np.rint(image * (1 - opacity) + colours * opacity).astype(np.uint8)
