"""Drawing predictions, and optionally the truth beside them, onto a picture."""

import colorsys
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from detection.results.pasted_masks import decode_mask
from detection.types import Prediction, Target
from foundation.file_naming import printable

_Colour = tuple[int, int, int]

# Successive multiples of the golden ratio fall far apart on the colour circle, for any number of classes.
_GOLDEN_RATIO = 0.618033988749895
_GREY = (128, 128, 128)


def draw(
    image: Image.Image | NDArray[np.uint8],
    prediction: Prediction,
    class_names: Sequence[str],
    *,
    target: Target | None = None,
    score_threshold: float = 0.5,
) -> Image.Image:
    """The picture with its detections, each a box labelled with class and score, and its mask if it has one.

    Args:
        image: the picture that the boxes refer to, RGB; an array is (H, W, 3) uint8.
        class_names: name of label 1, 2, …
        target: drawn on a second copy, right of the first; ignored objects in grey.
        score_threshold: detections below are left out.
    Returns:
        A new picture, twice as wide with a target.
    """
    picture = image.convert("RGB") if isinstance(image, Image.Image) else Image.fromarray(image)
    order = prediction.scores.argsort(stable=True)  # the surest last, on top
    shown = order[prediction.scores[order] >= score_threshold]
    labels = prediction.labels[shown].tolist()
    texts = [
        f"{class_names[label - 1]} {score:.2f}"
        for label, score in zip(labels, prediction.scores[shown].tolist(), strict=True)
    ]
    colours = [_colour(label) for label in labels]
    masks = prediction.masks and [prediction.masks[i] for i in shown.tolist()]
    tinted = _tint(picture, map(decode_mask, masks), colours) if masks else picture
    found = _draw_boxes(tinted, prediction.boxes[shown].tolist(), texts, colours)
    if target is None:
        return found
    labels, ignore = target.labels.tolist(), target.ignore.tolist()
    texts = [class_names[label - 1] for label in labels]
    colours = [_GREY if hidden else _colour(n) for n, hidden in zip(labels, ignore, strict=True)]
    if target.mask is not None:
        picture = _tint(picture, map(target.mask, range(len(labels))), colours)
    truth = _draw_boxes(picture, target.boxes.tolist(), texts, colours)
    both = Image.new("RGB", (found.width + truth.width, found.height))
    both.paste(found, (0, 0))
    both.paste(truth, (found.width, 0))
    return both


def _tint(
    picture: Image.Image, masks: Iterable[NDArray[np.bool_]], colours: Sequence[_Colour]
) -> Image.Image:
    """The picture with each mask (H, W) half in its colour, in order."""
    pixels = np.array(picture)
    for mask, colour in zip(masks, colours, strict=True):
        pixels[mask] = (pixels[mask] + np.array(colour, dtype=np.uint16)) // 2
    return Image.fromarray(pixels)


def _colour(label: int) -> _Colour:
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN_RATIO % 1, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def _draw_boxes(
    picture: Image.Image, boxes: Sequence[list[float]], texts: Sequence[str], colours: Sequence[_Colour]
) -> Image.Image:
    """Texts stand on plates above the boxes' top-left corners, moved inside the picture."""
    drawn = picture.copy()
    canvas = ImageDraw.Draw(drawn)
    short_side = min(drawn.size)
    font = ImageFont.load_default(size=max(10, short_side / 30))
    line = max(1, round(short_side / 200))
    for box, colour in zip(boxes, colours, strict=True):
        # Pillow takes minutes for edges far outside; a line's width outside nothing of them is seen.
        x1, x2 = (min(max(x, -line), drawn.width + line) for x in box[::2])
        y1, y2 = (min(max(y, -line), drawn.height + line) for y in box[1::2])
        last = max(x1, x2 - 1), max(y1, y2 - 1)  # Pillow's corners are pixels inside, ours are edges
        canvas.rectangle(((x1, y1), last), outline=colour, width=line)
    # Labels last: no box may cross out another's text.
    for box, name, colour in zip(boxes, texts, colours, strict=True):
        text = printable(name, keep="")
        left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
        width, height = right - left + 4, bottom - top + 4
        x, y = max(0, min(box[0], drawn.width - width)), max(0, box[1] - height)
        canvas.rectangle((x, y, x + width, y + height), fill=colour)
        red, green, blue = colour
        bright = 0.299 * red + 0.587 * green + 0.114 * blue > 128  # ITU-R BT.601
        canvas.text((x + 2 - left, y + 2 - top), text, font=font, fill="black" if bright else "white")
    return drawn
