"""What is done to single pictures: crops, flips, colour shifts, policies and erasing, all from a seed."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from backbones.spec import IMAGENET_INPUT
from foundation.errors import UserError
from pictures.decoding import Box
from training.seeding import seeded

Picture = NDArray[np.uint8]

# Principal components of ImageNet's RGB values in 0–1, one a column, and the factor of the shift along each:
# fb.resnet.torch, datasets/imagenet.lua, eigvec and eigval. The method is Krizhevsky et al. 2012, §4.1.
PCA_FACTORS = np.array([0.2175, 0.0188, 0.0045])
PCA_VECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
)

TORCHVISION = {"trivial": v2.TrivialAugmentWide, "rand": v2.RandAugment, "auto": v2.AutoAugment}
# torchvision's by name, or timm's random augmentation with its options.
TIMM_OPTION = r"m(\d|10)|n[1-9]\d*|p(0(\.\d+)?|1(\.0+)?)|mstd\d+(\.\d+)?|mmax\d+|inc1"
POLICY_NAME = rf"{'|'.join(TORCHVISION)}|rand(-({TIMM_OPTION}))+"
# About what the network sees as 0: pixels that a policy or erasing leaves without content.
MEAN_COLOUR = [round(255 * mean) for mean in IMAGENET_INPUT.mean]


def scale_jitter_box(
    rng: Generator, height: int, width: int, size: int, short_side: tuple[float, float]
) -> Box:
    """The paper's crop: the short side is scaled at random, and the place random (He et al. 2015, §3.4).

    Args:
        size: pixels of the crop's side, after scaling.
        short_side: range of the scaled picture's short side in pixels; the paper's is 256 … 480 for size 224.
    Returns:
        The crop in the picture as it is, so that only its pixels need to be resized.
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

    Pillow resizes (antialiased, bilinear), since its crops need not begin at whole pixels.
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

    The deviation, 0.1 in the paper, is that of the random numbers that multiply the factors.
    """
    if deviation == 0:
        return image
    shift = 255 * PCA_VECTORS @ (PCA_FACTORS * rng.normal(0, deviation, 3))
    shifted = torch.from_numpy(image) + torch.from_numpy(np.rint(shift).astype(np.int16))
    return shifted.clamp_(0, 255).to(torch.uint8).numpy()


class CropPolicy:
    """Random augmentation and erasing of a training crop, after crop, flip and colour shift.

    Args:
        policy: a name of the form POLICY_NAME, or None.
        erase: probability that a rectangle is erased.
        size: pixels of the crop's side.
    Raises:
        UserError: the policy is timm's, and timm is not installed.
    """

    def __init__(self, policy: str | None, erase: float, size: int) -> None:
        self.change = None if policy is None else build_policy(policy, size)
        self.erase = v2.RandomErasing(erase, value=MEAN_COLOUR) if erase else None

    def __call__(self, image: Picture, seed: int) -> Picture:
        """Changes a picture (H, W, 3); nothing but the seed decides how."""
        if self.change is None and self.erase is None:
            return image
        with seeded(seed):
            if self.change is not None:
                image = np.asarray(self.change(Image.fromarray(image)))
            if self.erase is not None:
                chw = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
                image = self.erase(chw).permute(1, 2, 0).numpy()
        return image


def build_policy(name: str, size: int) -> Callable[[Image.Image], Image.Image]:
    """One of torchvision's policies by name, or timm's random augmentation of pictures of `size` pixels."""
    if name in TORCHVISION:
        return TORCHVISION[name](interpolation=InterpolationMode.BILINEAR, fill=MEAN_COLOUR)
    try:
        from timm.data.auto_augment import rand_augment_transform
    except ModuleNotFoundError:
        raise UserError(
            "this data.policy is timm's; install it with "
            'pip install "residual-backbones[timm]", or use "rand", "trivial" or "auto"'
        ) from None
    # As timm's own training sets them up: a shift is at most 45 % of the picture.
    return rand_augment_transform(name, {"translate_const": int(0.45 * size), "img_mean": tuple(MEAN_COLOUR)})
