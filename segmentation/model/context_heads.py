"""Heads that see more of the picture: DeepLabv3's and v3+'s dilated convolutions, PSPNet's pooling."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foundation.errors import OptionError
from segmentation.model.fcn import conv_norm
from segmentation.model.map_sizes import GridAverage, resize_bilinear

WIDTH = 256  # channels of DeepLab's heads
RATES, RATES_STRIDE = (6, 12, 18), 16  # Chen et al. 2017, and the output stride that they are for
BINS = (1, 2, 3, 6)  # Zhao et al. 2017


class PooledBranch(nn.Sequential):
    """The map averaged over a grid, a 1x1 convolution, normalisation, ReLU, and back to the map's size."""

    folds = (("1", "2"),)

    def __init__(self, in_channels: int, out_channels: int, bins: int) -> None:
        super().__init__(GridAverage(bins), *conv_norm(in_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C', h, w).

        Raises:
            OptionError: in training there is one value per channel, which has no variance to normalise by.
        """
        average, *layers = self
        pooled = average(x)
        if self.training and type(layers[1]) is nn.BatchNorm2d and pooled[:, 0].numel() == 1:
            raise OptionError(
                "the average over a picture is normalised over the pictures of a step, and here is one; "
                "train with at least two on each device, or with norm='sync' on several devices"
            )
        for layer in layers:
            pooled = layer(pooled)
        return resize_bilinear(pooled, x.shape[2:])


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al. 2017, §3.3): 1x1, three dilated 3x3, the picture's average.

    Args:
        output_stride: of the map: the rates are 6, 12 and 18 at 16, twice as much at 8.
    """

    def __init__(self, in_channels: int, output_stride: int) -> None:
        super().__init__()
        rates = [rate * RATES_STRIDE // output_stride for rate in RATES]
        self.convs = nn.ModuleList(
            [
                nn.Sequential(*conv_norm(in_channels, WIDTH)),
                *(nn.Sequential(*conv_norm(in_channels, WIDTH, 3, dilation=rate)) for rate in rates),
                PooledBranch(in_channels, WIDTH, bins=1),
            ]
        )
        self.project = nn.Sequential(*conv_norm(len(self.convs) * WIDTH, WIDTH), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, 256, h, w)."""
        return self.project(torch.cat([branch(x) for branch in self.convs], 1))


def deeplabv3_head(in_channels: int, num_classes: int, output_stride: int) -> nn.Sequential:
    """The head of DeepLabv3 as torchvision has it: (N, C, h, w) → (N, K, h, w)."""
    return nn.Sequential(
        Aspp(in_channels, output_stride), *conv_norm(WIDTH, WIDTH, 3), nn.Conv2d(WIDTH, num_classes, 1)
    )


class DeepLabPlusHead(nn.Module):
    """The decoder of DeepLabv3+ (Chen et al. 2018): ASPP enlarged and joined with a fine map, two 3x3.

    Args:
        channels: of the fine map, which is projected to 48, and of the coarse one.
        output_stride: of the coarse one.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, output_stride: int) -> None:
        super().__init__()
        fine, coarse = channels
        self.aspp = Aspp(coarse, output_stride)
        self.project = nn.Sequential(*conv_norm(fine, 48))
        self.decoder = nn.Sequential(*conv_norm(WIDTH + 48, WIDTH, 3), *conv_norm(WIDTH, WIDTH, 3))
        self.score = nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(N, C, h, w) and (N, C', h', w') → (N, K, h, w)."""
        context = resize_bilinear(self.aspp(coarse), fine.shape[2:])
        return self.score(self.decoder(torch.cat([self.project(fine), context], 1)))


class PyramidPoolingHead(nn.Module):
    """PSPNet's head (Zhao et al. 2017): the map beside its averages over four grids, a 3x3, the scores."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        part = in_channels // len(BINS)
        self.branches = nn.ModuleList(PooledBranch(in_channels, part, bins) for bins in BINS)
        channels = in_channels // 4
        self.fuse = nn.Sequential(*conv_norm(in_channels + len(BINS) * part, channels, 3), nn.Dropout(0.1))
        self.score = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, K, h, w)."""
        return self.score(self.fuse(torch.cat([x, *(branch(x) for branch in self.branches)], 1)))
