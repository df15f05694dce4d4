"""Random augmentation and erasing of single pictures, by torchvision or timm, from the picture's seed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from backbones.spec import IMAGENET_INPUT
from classification.data.augment import Picture
from classification.config import DataConfig
from foundation.errors import UserError
from training.seeding import seeded

# About what the network sees as 0: pixels that a policy or erasing leaves without content.
MEAN_COLOUR = [round(255 * mean) for mean in IMAGENET_INPUT.mean]
TORCHVISION = {
    "trivial": v2.TrivialAugmentWide,
    "rand": v2.RandAugment,
    "auto": v2.AutoAugment,
}


class Policy:
    """What a configuration asks to be done to a training crop, beyond crop, flip and colour shift.

    Args:
        training: without it nothing is done, and nothing needed for it.
    Raises:
        UserError: the policy is timm's, and timm is not installed.
    """

    def __init__(self, config: DataConfig, *, training: bool = True) -> None:
        self.change = self.erase = None
        if training and config.policy is not None:
            self.change = build_policy(config.policy, config.image_size)
        if training and config.erase:
            self.erase = v2.RandomErasing(config.erase, value=MEAN_COLOUR)

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
    # As timm's own training sets them up: a shift is at most 45 % of the picture.
    options = {"translate_const": int(0.45 * size), "img_mean": tuple(MEAN_COLOUR)}
    return rand_augment_transform()(name, options)


def rand_augment_transform() -> Any:
    """timm's reader of policies such as "rand-m7-mstd0.5-inc1"."""
    try:
        from timm.data.auto_augment import rand_augment_transform as read
    except ModuleNotFoundError:
        raise UserError(
            "this data.policy is timm's; install it with "
            'pip install "residual-backbones[timm]", or use "rand", "trivial" or "auto"'
        ) from None
    return read
