"""A large picture as overlapping tiles, and which of them may speak for an object.

Akyon et al. 2022 (SAHI) cut pictures likewise, and leave what a border cuts to the suppression. Here a border
never makes an object of a part of one, see `seen_whole`.
"""

import math

import torch
from torch import Tensor

from detection.types import Window
from foundation.errors import UserError

MOST_TILES = 10_000  # of a picture; more are a slip of the pen
MARGIN = 0.02  # of a region's shorter side: a box ending nearer to an inner border counts as cut


def tile_windows(size: tuple[int, int], tile: int, overlap: float) -> list[Window]:
    """Tiles of one size that cover a picture, row by row; the last of a row or column end at the picture's.

    Args:
        size: (height, width) of the picture.
        tile: their side in pixels; where the picture is smaller, so are they.
        overlap: neighbours share at least this part of `tile`, rounded up to pixels.
    Raises:
        UserError: there would be more than `MOST_TILES`.
    """
    step = max(1, tile - math.ceil(overlap * tile))
    height, width = (min(tile, side) for side in size)
    starts = [range(0, max(0, side - tile), step) for side in size]
    if (count := (len(starts[0]) + 1) * (len(starts[1]) + 1)) > MOST_TILES:
        raise UserError(
            f"tiles of {tile} pixels overlapping by {overlap:g} cut {size[1]}x{size[0]} pixels into {count}, "
            f"more than {MOST_TILES}; make them larger, or let them overlap less"
        )
    tops, lefts = ([*some, max(0, side - tile)] for some, side in zip(starts, size, strict=True))
    return [(top, left, height, width) for top in tops for left in lefts]


def regions_of(size: tuple[int, int], tile: int, overlap: float) -> list[Window]:
    """The tiles, and behind them the whole picture unless it is the only tile."""
    tiles = tile_windows(size, tile, overlap)
    return tiles if len(tiles) == 1 else [*tiles, (0, 0, *size)]


def seen_whole(boxes: Tensor, windows: list[Window], size: tuple[int, int]) -> Tensor:
    """Which regions see all of an object, as far as its box says.

    A region does if the box ends before every border of it that is no border of the picture, by `MARGIN` of
    the region's shorter side, since the box of a cut object may end a little before the cut.

    Args:
        boxes: (D, 4) xyxy in pixels of the picture.
        windows: of V regions.
        size: (height, width) of the picture.
    Returns:
        (D, V) bool.
    """
    top, left, height, width = torch.tensor(windows, dtype=boxes.dtype, device=boxes.device).unbind(dim=1)
    margin = MARGIN * torch.minimum(height, width)
    low = torch.stack([left, top], dim=1)
    high = torch.stack([left + width, top + height], dim=1)
    limit = torch.tensor([size[1], size[0]], dtype=boxes.dtype, device=boxes.device)
    low = torch.where(low <= 0, -math.inf, low + margin[:, None])
    high = torch.where(high >= limit, math.inf, high - margin[:, None])
    return ((boxes[:, None, :2] >= low) & (boxes[:, None, 2:] <= high)).all(dim=2)


def may_speak(boxes: Tensor, windows: list[Window], size: tuple[int, int]) -> Tensor:
    """Which regions of `regions_of` may report an object with this box: (D, V) bool.

    A tile may if it sees the object whole, and the whole picture if no tile does. So a cut part of an object
    is never reported beside the object, and objects larger than the overlap are not lost.
    """
    seen = seen_whole(boxes, windows, size)
    if len(windows) > 1:
        seen[:, -1] = ~seen[:, :-1].any(dim=1)
    return seen
