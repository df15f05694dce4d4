"""Fully convolutional networks (Long et al. 2015): scores of one map, or of several joined coarse to fine."""

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from backbones.features import StageHead
from backbones.networks.vgg import REGION
from segmentation.model.map_sizes import resize_bilinear


def conv_norm(
    in_channels: int, out_channels: int, size: int = 1, *, dilation: int = 1
) -> tuple[nn.Module, ...]:
    """A convolution that keeps the size of the map, batch normalisation and ReLU."""
    padding = dilation * (size // 2)
    return (
        nn.Conv2d(in_channels, out_channels, size, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def fcn_head(in_channels: int, num_classes: int) -> nn.Sequential:
    """The head of torchvision's FCN, and every auxiliary head: (N, C, h, w) → (N, K, h, w)."""
    channels = in_channels // 4
    return nn.Sequential(
        *conv_norm(in_channels, channels, 3), nn.Dropout(0.1), nn.Conv2d(channels, num_classes, 1)
    )


class SkipHead(nn.Module):
    """Scores of maps of different strides, each enlarged to the next finer one and added to it.

    Every layer begins at zero, as in the paper (§4.3), so that the first answer of a skip changes nothing.

    Args:
        channels: of the maps, from fine to coarse.
    """

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.scores = nn.ModuleList(nn.Conv2d(number, num_classes, 1) for number in channels)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (N, C, h, w) from fine to coarse → (N, K, h, w) of the finest."""
        *finer, joined = (score(x) for score, x in zip(self.scores, maps, strict=True))
        for scores in reversed(finer):
            joined = scores + resize_bilinear(joined, scores.shape[2:])
        return joined


class VggSkipHead(nn.Module):
    """The head of the paper's own networks: pooling, fc6 and fc7 as convolutions, then a `SkipHead`.

    VGG's features come before the pooling that ends a stage; the paper reads pool3, pool4 and, behind fc7,
    pool5. fc6 pads its map by three pixels, where the paper pads the picture by a hundred.

    Args:
        fully_connected: fc6 and fc7, the head that `create_trunk_and_head` gives; it is taken apart.
        channels: of the maps, from fine to coarse.
    """

    def __init__(self, fully_connected: StageHead, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        fc6, fc7 = (cast(nn.Linear, fully_connected.get_submodule(f"classifier.{layer}")) for layer in (0, 3))
        self.fc6, self.fc7 = _as_convolution(fc6, REGION), _as_convolution(fc7, 1)
        self.relu, self.dropout = nn.ReLU(inplace=True), nn.Dropout(0.5)
        self.skips = SkipHead([*channels[:-1], fc7.out_features], num_classes)

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (N, C, h, w) from fine to coarse, conv5 last → (N, K, h / 2, w / 2) of the finest."""
        *finer, x = (max_pool2d(x, 2) for x in maps)
        for layer in (self.fc6, self.fc7):
            x = self.dropout(self.relu(layer(x)))
        return self.skips(*finer, x)


def _as_convolution(layer: Any, size: int) -> nn.Conv2d:
    """A fully connected layer on regions of size · size as the convolution that is equal on each of them."""
    channels = layer.in_features // size**2
    conv = nn.utils.skip_init(nn.Conv2d, channels, layer.out_features, size, padding=size // 2)
    conv.weight, conv.bias = nn.Parameter(layer.weight.detach().view(conv.weight.shape)), layer.bias
    return conv
