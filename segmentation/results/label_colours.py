"""Label maps in colour over their pictures."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pictures.class_colours import GREY, class_colour, text_colour
from pictures.lettering import text_mask
from segmentation.data.label_maps import Labels, palette

OPACITY = 0.6  # of the classes' colours
LINE = 1.5  # ems, the height of a line of the legend


def tinted(image: NDArray[np.uint8], labels: Labels) -> NDArray[np.uint8]:
    """A picture (H, W, 3) under the colours of its classes; class 0 has none, what is ignored is grey."""
    colours = palette()[labels].astype(np.float64)
    opacity = np.where(labels == 0, 0, OPACITY)[..., None]
    return np.rint(image * (1 - opacity) + colours * opacity).astype(np.uint8)


def draw_legend(picture: Image.Image, labels: Labels, classes: Sequence[str]) -> Image.Image:
    """A copy of a picture with the names of its classes on their colours, in the top-left corner.

    The largest class comes first. Class 0 has neither a colour nor a line; of more classes than there is
    room for, the last line counts the rest.
    """
    drawn = picture.copy()
    canvas, letters = ImageDraw.Draw(drawn), max(10, min(drawn.size) / 30)
    counts = np.bincount(labels.ravel(), minlength=len(classes))[: len(classes)]
    found = [int(label) for label in np.argsort(-counts, kind="stable") if label and counts[label]]
    lines = [(classes[label], class_colour(label)) for label in found]
    step = round(LINE * letters)
    room = max(1, drawn.height // step)
    if len(lines) > room:
        lines[room - 1 :] = [(f"{len(lines) - room + 1} more", GREY)]
    for number, (text, colour) in enumerate(lines):
        mask = Image.fromarray(text_mask(text, letters))
        top = number * step
        canvas.rectangle((0, top, mask.width + 3, top + step - 1), fill=colour)
        canvas.bitmap((2, top + max(0, step - mask.height) // 2), mask, fill=text_colour(colour))
    return drawn
