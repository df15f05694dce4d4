"""Mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019), drawn from a micro-batch's seeds on its device.

The classes of torchvision and timm draw from the host's global generators, for which the seeds would have to
be fetched from a GPU. For equal draws the pictures and targets are torchvision's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from classification.data.labelled_batches import Batch, Pictures
from training.config import require_between

# Every draw of a micro-batch takes these bits of its first picture's seed. Those below are left to the crop.
FIRST_BIT, BITS = 3, 12
DRAWS = 2**BITS


@dataclass(frozen=True)
class MixingConfig:
    """Training pictures mixed with others of their micro-batch.

    Attributes:
        mixup: alpha of the distribution Beta(alpha, alpha) of a picture's share in mixup; 0 is no mixup.
        cutmix: alpha of the same distribution of the share that cutmix pastes; 0 is no cutmix.
        probability: probability of a micro-batch to be mixed at all.
        cutmix_share: share of the mixed micro-batches that get cutmix where both are on.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    probability: float = 1.0
    cutmix_share: float = 0.5

    def __post_init__(self) -> None:
        require_between(self, 0, 100, "mixup", "cutmix")
        require_between(self, 0, 1, "probability", "cutmix_share")

    def is_on(self) -> bool:
        """Whether anything is mixed."""
        return self.mixup > 0 or self.cutmix > 0


class Mixing:
    """Mixes every picture with the one before it in the micro-batch, the first with the last.

    One kind, one share and one box serve the whole micro-batch, as in torchvision and by default in timm. The
    share is one of 4,096 numbers that were drawn beforehand from its Beta distribution.
    """

    def __init__(self, config: MixingConfig, num_classes: int, device: torch.device) -> None:
        self.config, self.num_classes = config, num_classes
        self.mixup_shares = beta_table(config.mixup).to(device)
        self.cutmix_shares = beta_table(config.cutmix).to(device)
        self.shifts = torch.arange(FIRST_BIT, FIRST_BIT + 5 * BITS, BITS, device=device)

    def __call__(self, images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed pictures and their targets.

        Args:
            images: (N, C, H, W) float32.
            labels: (N,) int64, 0 … K−1.
            seeds: (N,) int64, uniform over 0 … 2⁶³−1; the first one decides.
        Returns:
            (N, C, H, W), and (N, K) float32 shares of the classes, summing to 1 for every picture.
        """
        own = self.own_share(seeds[0], *images.shape[-2:])
        targets = F.one_hot(labels, self.num_classes).float()
        mixed = torch.lerp(images.roll(1, 0), images, own)
        # Cutmix: the share of the pixels, box cut off at the border included (Yun et al. 2019, §3.1).
        return mixed, torch.lerp(targets.roll(1, 0), targets, own.mean())

    def own_share(self, seed: Tensor, height: int, width: int) -> Tensor:
        """(H, W): the share of a picture itself in each pixel; the rest is its partner's."""
        number = (seed >> self.shifts) & (DRAWS - 1)
        apply, switch, row, column = (number[:4] / DRAWS).unbind()
        chosen = number[4:]  # of one dimension: a GPU would be waited for to index by a scalar
        constant = self.mixup_shares[chosen].expand(height, width)
        box = box_mask(self.cutmix_shares[chosen], row, column, height, width)
        config = self.config
        cutmix_share = config.cutmix_share if config.mixup and config.cutmix else float(config.cutmix > 0)
        share = torch.where(switch < cutmix_share, 1 - box.float(), constant)
        return torch.where(apply < config.probability, share, 1.0)


def box_mask(share: Tensor, row: Tensor, column: Tensor, height: int, width: int) -> Tensor:
    """(H, W) bool: a box of 1 − `share` of the area and the picture's shape, cut off at its border.

    Args:
        share: (1,), 0 … 1, of the pixels outside.
        row, column: 0-dimensional, of the centre, as fractions from 0 to below 1 of height and width.
    """
    half = (1 - share).sqrt() / 2
    sides = []
    for centre, length in ((row, height), (column, width)):
        reach = (half * length).floor()  # rounded as torchvision does
        offset = torch.arange(length, device=share.device) - (centre * length).floor()
        sides.append((offset >= -reach) & (offset < reach))
    return sides[0][:, None] & sides[1]


def beta_table(alpha: float) -> Tensor:
    """(4096,) float32 of draws from Beta(alpha, alpha), always the same; ones for alpha 0."""
    if alpha == 0:
        return torch.ones(DRAWS)
    draws = np.random.default_rng(0).beta(alpha, alpha, DRAWS)
    return torch.from_numpy(draws).float()


def network_input(
    pictures: Pictures, config: MixingConfig, device: torch.device
) -> Callable[[Batch], tuple[Tensor, Tensor]]:
    """What gives the pictures of a micro-batch on the device as the network sees them, and their targets."""
    mixing = Mixing(config, len(pictures.classes), device) if config.is_on() else None

    def prepare(batch: Batch) -> tuple[Tensor, Tensor]:
        images = pictures.prepare(batch)
        return (images, batch.labels) if mixing is None else mixing(images, batch.labels, batch.seeds)

    return prepare
