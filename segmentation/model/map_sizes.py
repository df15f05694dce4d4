"""Maps made larger by bilinear interpolation, and averaged over the cells of a grid.

Both take sizes that are known only when the network runs, in exported programs too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resize_bilinear(maps: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Maps of another size, by bilinear interpolation that aligns the borders of the outermost pixels.

    A pixel is a square whose centre lies half a pixel from its borders (`align_corners=False` of torch):
    output pixel i reads the place (i + 0.5) · before / after − 0.5, held within the map. Enlarging (0, 1)
    to four pixels gives (0, 0.25, 0.75, 1).

    Args:
        maps: (N, C, h, w).
        size: height and width of the result.
    """
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def pad_to_cells(images: Tensor, stride: int, value: float = 0) -> Tensor:
    """Pictures (N, …, H, W) padded below and right to the next multiples of a stride.

    Then every cell of a map covers the same pixels whatever the size is: a map of ⌈H / stride⌉ cells that is
    stretched over H pixels moves what it says by up to a cell, growing towards the far border.
    """
    return F.pad(images, (0, -images.shape[-1] % stride, 0, -images.shape[-2] % stride), value=value)


class GridAverage(nn.Module):
    """Averages over the cells of a grid of bins · bins, (N, C, h, w) → (N, C, bins, bins).

    The cells are those of `nn.AdaptiveAvgPool2d`: from pixel ⌊i · size / bins⌋ to pixel
    ⌈(i + 1) · size / bins⌉, so that they overlap where the size is no multiple. That module can be written to
    no ONNX file of any size; this one is two products of matrices.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        if self.bins == 1:
            return x.mean((2, 3), keepdim=True)
        rows, columns = (self._cells(x.shape[axis], x) for axis in (2, 3))
        # The sums come first: ones are exact in half precision, parts of one are not.
        sums = torch.matmul(torch.matmul(rows, x), columns.T)
        return sums / (rows.sum(1)[:, None] * columns.sum(1))

    def _cells(self, size: int, like: Tensor) -> Tensor:
        """(bins, size), 1 where a pixel belongs to a cell."""
        cells = torch.arange(self.bins, device=like.device)
        pixels = torch.arange(size, device=like.device)
        first, end = cells * size // self.bins, -(-(cells + 1) * size // self.bins)
        inside = (pixels >= first[:, None]) & (pixels < end[:, None])
        return inside.to(like.dtype)

    def extra_repr(self) -> str:
        return f"{self.bins}x{self.bins}"
