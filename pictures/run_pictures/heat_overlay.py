"""A heat map laid over the picture that it is of."""

import numpy as np
from numpy.typing import NDArray

MOST = 0.65  # of the warmest place's colour


def lay_heat(pixels: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The picture under the colours of the heat, from none where it is cold to red where it is warmest.

    Args:
        pixels: (H, W, 3) RGB.
        heat: (H, W), at least 0; its maximum is the warmest, and where that is 0 the picture stays as it is.
    """
    from matplotlib import colormaps  # only here: it is slow to import

    share = (heat / heat.max() if heat.max() > 0 else np.zeros_like(heat))[..., None]
    colours = 255 * colormaps["turbo"](share[..., 0])[..., :3]
    mixed = pixels + MOST * np.sqrt(share) * (colours - pixels)
    return mixed.round().astype(np.uint8)
