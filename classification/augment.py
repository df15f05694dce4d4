"""Crops, flips and colour shifts of single pictures; all randomness comes from the generator given."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]

# Principal components of ImageNet's RGB values in 0–1, one a column, and the factor of the shift along each,
# as published in fb.resnet.torch (datasets/imagenet.lua, eigvec and eigval). The paper follows the method of
# Krizhevsky et al. 2012, §4.1.
PCA_FACTORS = np.array([0.2175, 0.0188, 0.0045])
PCA_VECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
)


def crop_resized(image: Picture, box: tuple[float, float, float, float], size: int) -> Picture:
    """Resizes the box (left, top, right, bottom; pixels) to (size, size, 3), antialiased bilinear."""
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized)


def scale_jitter_crop(rng: Generator, image: Picture, size: int, short_side: tuple[float, float]) -> Picture:
    """The paper's: short side scaled at random, place at random (He et al. 2015, §3.4).

    Only the crop's pixels are resized.

    Args:
        short_side: range of the scaled picture's short side in pixels; the paper's is 256 … 480 for size 224.
    """
    height, width = image.shape[:2]
    side = size * min(height, width) / rng.uniform(*short_side)
    left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
    return crop_resized(image, (left, top, left + side, top + side), size)


def area_crop(rng: Generator, image: Picture, size: int) -> Picture:
    """Inception's: 8–100 % of the area, aspect 3/4 … 4/3, resized to a square (Szegedy et al. 2015, §6).

    After ten crops that do not fit, the largest centred square is taken.
    """
    height, width = image.shape[:2]
    for _ in range(10):
        area = rng.uniform(0.08, 1) * height * width
        aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        crop_width, crop_height = np.sqrt(area * aspect), np.sqrt(area / aspect)
        if crop_width <= width and crop_height <= height:
            left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
            return crop_resized(image, (left, top, left + crop_width, top + crop_height), size)
    return centre_crop(image, size, size)


def centre_crop(image: Picture, resize: int, size: int) -> Picture:
    """The central (size, size) of the picture with its short side scaled to `resize` pixels."""
    height, width = image.shape[:2]
    side = size * min(height, width) / resize
    left, top = (width - side) / 2, (height - side) / 2
    return crop_resized(image, (left, top, left + side, top + side), size)


def flip_half(rng: Generator, image: Picture) -> Picture:
    """Mirrors left and right with probability one half."""
    return image[:, ::-1] if rng.random() < 0.5 else image


def shift_colour(rng: Generator, image: Picture, deviation: float) -> Picture:
    """Adds one random colour along the principal components (Krizhevsky et al. 2012, §4.1).

    Args:
        deviation: of the random numbers that multiply the factors, 0.1 in the paper's source; 0 leaves the
            picture alone.
    """
    if deviation == 0:
        return image
    shift = 255 * PCA_VECTORS @ (PCA_FACTORS * rng.normal(0, deviation, 3))
    return np.clip(np.rint(image + shift), 0, 255).astype(np.uint8)
