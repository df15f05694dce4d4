"""Drawing predictions, and optionally the truth beside them, onto a picture."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from detection.results.pasted_masks import decode_mask
from detection.types import Prediction, Target
from pictures.class_colours import GREY, Colour, class_colour, text_colour
from pictures.lettering import text_mask


def draw(
    image: Image.Image | NDArray[np.uint8],
    prediction: Prediction,
    class_names: Sequence[str],
    *,
    target: Target | None = None,
    score_threshold: float = 0.5,
) -> Image.Image:
    """The picture with its detections: boxes with class and score, and masks, outlined, where there are any.

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
    colours = [class_colour(label) for label in labels]
    masks = map(decode_mask, [prediction.masks[i] for i in shown.tolist()]) if prediction.masks else None
    found = draw_objects(picture, prediction.boxes[shown].tolist(), texts, colours, masks)
    if target is None:
        return found
    labels, ignore = target.labels.tolist(), target.ignore.tolist()
    texts = [class_names[label - 1] for label in labels]
    colours = [GREY if hidden else class_colour(n) for n, hidden in zip(labels, ignore, strict=True)]
    drawn = map(target.mask, range(len(labels))) if target.mask is not None else None
    truth = draw_objects(picture, target.boxes.tolist(), texts, colours, drawn)
    both = Image.new("RGB", (found.width + truth.width, found.height))
    both.paste(found, (0, 0))
    both.paste(truth, (found.width, 0))
    return both


def draw_objects(
    picture: Image.Image,
    boxes: Sequence[list[float]],
    texts: Sequence[str],
    colours: Sequence[Colour],
    masks: Iterable[NDArray[np.bool_]] | None = None,
) -> Image.Image:
    """A copy of the picture with objects: boxes xyxy in pixels, texts, and (H, W) masks, one each or none."""
    tinted = picture if masks is None else _tint(picture, masks, colours)
    return _draw_boxes(tinted, boxes, texts, colours)


def _line(picture: Image.Image) -> int:
    """How many pixels wide lines are on a picture."""
    return max(1, round(min(picture.size) / 200))


def _tint(picture: Image.Image, masks: Iterable[NDArray[np.bool_]], colours: Sequence[Colour]) -> Image.Image:
    """The picture with each mask (H, W) half in its colour and outlined in it, in order."""
    pixels, line = np.array(picture), _line(picture)
    for mask, colour in zip(masks, colours, strict=True):
        pixels[mask] = (pixels[mask] + np.array(colour, dtype=np.uint16)) // 2
        pixels[outline(mask, line)] = colour
    return Image.fromarray(pixels)


def outline(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The pixels of a mask (H, W) from which `width` pixels up, down, left or right lies none of it."""
    padded = np.pad(mask, width)
    height, length = mask.shape
    inside = np.ones_like(mask)
    for top, left in ((0, width), (2 * width, width), (width, 0), (width, 2 * width)):
        inside &= padded[top : top + height, left : left + length]
    return mask & ~inside


def _draw_boxes(
    picture: Image.Image, boxes: Sequence[list[float]], texts: Sequence[str], colours: Sequence[Colour]
) -> Image.Image:
    """Texts stand on plates above the boxes' top-left corners, moved inside the picture."""
    drawn = picture.copy()
    canvas = ImageDraw.Draw(drawn)
    letters = max(10, min(drawn.size) / 30)
    line = _line(drawn)
    for box, colour in zip(boxes, colours, strict=True):
        # Pillow takes minutes for edges far outside; a line's width outside nothing of them is seen.
        x1, x2 = (min(max(x, -line), drawn.width + line) for x in box[::2])
        y1, y2 = (min(max(y, -line), drawn.height + line) for y in box[1::2])
        last = max(x1, x2 - 1), max(y1, y2 - 1)  # Pillow's corners are pixels inside, ours are edges
        canvas.rectangle(((x1, y1), last), outline=colour, width=line)
    # Labels last: no box may cross out another's text.
    for box, text, colour in zip(boxes, texts, colours, strict=True):
        mask = Image.fromarray(text_mask(text, letters))
        width, height = mask.width + 4, mask.height + 4
        x, y = round(max(0, min(box[0], drawn.width - width))), round(max(0, box[1] - height))
        canvas.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
        canvas.bitmap((x + 2, y + 2), mask, fill=text_colour(colour))
    return drawn
