"""The convolutions of the region proposal network, everywhere or at a few places."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RpnHead(nn.Module):
    """A 3x3 convolution, and two 1x1 for the objectness and the correction of every anchor."""

    compile_whole = True  # by run.compile

    def __init__(self, in_channels: int, channels: int, num_anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, num_anchors, 1)
        self.deltas = nn.Conv2d(channels, 4 * num_anchors, 1)
        for name, parameter in self.named_parameters():
            nn.init.normal_(parameter, std=0.01 if name.endswith("weight") else 0)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) → logits (N, R) and deltas (N, R, 4), float32, in the order of make_anchors."""
        hidden = F.relu(self.conv(features), inplace=True).float()
        # In bfloat16 scores would tie, and boxes move by pixels.
        with torch.autocast(hidden.device.type, enabled=False):
            logits = self.objectness(hidden).permute(0, 2, 3, 1).flatten(1)
            deltas = self.deltas(hidden).permute(0, 2, 3, 1).reshape(*logits.shape, 4)
        return logits, deltas

    def at(self, features: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
        """What forward gives for some of the anchors, from nothing but the cells around them.

        Args:
            features: (N, C, H, W) of every map.
            rows: (N, S) int64, numbers of anchors, counted through all maps.
        Returns:
            Logits (N, S) and deltas (N, S, 4), float32.
        """
        num_anchors = self.objectness.out_channels
        around = _neighbourhoods(features, rows // num_anchors)
        # A view: of the bias itself autocast (torch 2.8, 2.9) may have kept a cast without gradient.
        assert self.conv.bias is not None
        bias = self.conv.bias.view(-1)
        hidden = F.relu(F.linear(around, self.conv.weight.flatten(1), bias)).float()
        with torch.autocast(hidden.device.type, enabled=False):
            logits, deltas = (
                F.linear(hidden, layer.weight.flatten(1), layer.bias)
                for layer in (self.objectness, self.deltas)
            )
        own = (rows % num_anchors)[..., None]
        deltas = deltas.unflatten(2, (num_anchors, 4)).take_along_dim(own[..., None], dim=2)
        return logits.gather(2, own).squeeze(2), deltas.squeeze(2)


def _neighbourhoods(features: Sequence[Tensor], cells: Tensor) -> Tensor:
    """Cells of all maps with their eight neighbours, zeros beside a map.

    Args:
        features: (N, C, H, W) of every map.
        cells: (N, S) int64, row by row and map by map.
    Returns:
        (N, S, C · 9), as the weights of a 3x3 convolution are laid out.
    """
    pictures = torch.arange(len(cells), device=cells.device)[:, None, None, None]
    step = torch.arange(-1, 2, device=cells.device)
    found, start = [], 0
    for level in features:
        height, width = level.shape[2:]
        cell = cells - start
        y = (cell // width)[..., None, None] + step[:, None]
        x = (cell % width)[..., None, None] + step
        values = level[pictures, :, y.clamp(0, height - 1), x.clamp(0, width - 1)]
        of_level = (cell >= 0) & (cell < height * width)
        inside = of_level[..., None, None] & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        found.append(values.masked_fill(~inside[..., None], 0))
        start += height * width
    return torch.stack(found).sum(dim=0).permute(0, 1, 4, 2, 3).flatten(2)
