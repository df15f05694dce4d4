"""Many small pictures as one, each with a line of text."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pictures.lettering import text_mask

LETTERS = 13  # pixels of an em
LINE = 18  # pixels of a caption's height
GAP = 4  # pixels between two pictures


def fitting(picture: Image.Image, side: int) -> tuple[Image.Image, float]:
    """The picture shrunk, or enlarged by a whole number, until its long side fits; and the factor."""
    scale = side / max(picture.size)
    if scale >= 2:
        scale = float(int(scale))
    elif scale > 1:
        scale = 1.0
    size = [max(1, round(length * scale)) for length in picture.size]
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
    return picture.resize((size[0], size[1]), how), scale


def captioned(picture: Image.Image, text: str, colour: str, width: int) -> Image.Image:
    """The picture below a line of text, cut off where it is wider than `width` pixels and the picture."""
    width = max(width, picture.width)
    cell = Image.new("RGB", (width, picture.height + LINE), "white")
    letters = Image.fromarray(np.ascontiguousarray(text_mask(text, LETTERS)[:LINE, :width]))
    ImageDraw.Draw(cell).bitmap((0, max(0, (LINE - letters.height) // 2)), letters, fill=colour)
    cell.paste(picture, (0, LINE))
    return cell


def as_grid(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    """The pictures in rows of `columns` on white, each row and each column as large as its largest."""
    if not cells:
        return Image.new("RGB", (1, 1), "white")
    columns = min(columns, len(cells))
    widths = [max(cell.width for cell in cells[column::columns]) + GAP for column in range(columns)]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) + GAP for row in rows]
    grid = Image.new("RGB", (sum(widths) - GAP, sum(heights) - GAP), "white")
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            grid.paste(cell, (sum(widths[:column]), sum(heights[:number])))
    return grid
