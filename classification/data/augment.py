"""Crops, flips and colour shifts of single pictures; all randomness comes from the generator given."""

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from pictures.decoding import Box

Picture = NDArray[np.uint8]

# Principal components of ImageNet's RGB values in 0–1, one a column, and the factor of the shift along each,
# as published in fb.resnet.torch (datasets/imagenet.lua, eigvec and eigval). The paper follows the method of
# Krizhevsky et al. 2012, §4.1.
PCA_FACTORS = np.array([0.2175, 0.0188, 0.0045])
PCA_VECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
)


def scale_jitter_box(
    rng: Generator, height: int, width: int, size: int, short_side: tuple[float, float]
) -> Box:
    """The paper's crop: short side scaled at random, place at random (He et al. 2015, §3.4).

    Args:
        height, width: of the picture, in pixels.
        size: pixels of the crop's side, after scaling.
        short_side: range of the scaled picture's short side in pixels; the paper's is 256 … 480 for size 224.
    Returns:
        The crop before scaling; only its pixels need to be resized.
    """
    side = size * min(height, width) / rng.uniform(*short_side)
    left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
    return left, top, left + side, top + side


def area_box(rng: Generator, height: int, width: int) -> Box:
    """Inception's crop: 8–100 % of the area, aspect 3/4 … 4/3 (Szegedy et al. 2015, §6).

    After ten crops that do not fit, the largest centred square is taken.
    """
    for _ in range(10):
        area = rng.uniform(0.08, 1) * height * width
        aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        crop_width, crop_height = np.sqrt(area * aspect), np.sqrt(area / aspect)
        if crop_width <= width and crop_height <= height:
            left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
            return left, top, left + crop_width, top + crop_height
    return centre_box(height, width, 1.0)


def centre_box(height: int, width: int, share: float) -> Box:
    """The central square whose side is this share of the short side."""
    side = share * min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def centre_crop(image: Picture, resize: float, size: int) -> Picture:
    """The central (size, size) of the picture with its short side scaled to `resize` pixels.

    Antialiased bilinear, by Pillow: its place need not be whole pixels.
    """
    box = centre_box(image.shape[0], image.shape[1], size / resize)
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box))


def flip_half(rng: Generator, image: Picture) -> Picture:
    """Mirrors left and right with probability one half."""
    if rng.random() >= 0.5:
        return image
    return torch.from_numpy(image).flip(1).numpy()  # takes a fifth of NumPy's time


def shift_colour(rng: Generator, image: Picture, deviation: float) -> Picture:
    """Adds one random colour along the principal components (Krizhevsky et al. 2012, §4.1).

    Args:
        deviation: of the random numbers that multiply the factors, 0.1 in the paper's source; 0 leaves the
            picture alone.
    """
    if deviation == 0:
        return image
    shift = 255 * PCA_VECTORS @ (PCA_FACTORS * rng.normal(0, deviation, 3))
    shifted = torch.from_numpy(image) + torch.from_numpy(np.rint(shift).astype(np.int16))
    return shifted.clamp_(0, 255).to(torch.uint8).numpy()
