"""Label maps in PNG files: read by the index that is stored of each pixel, never by its colour."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foundation.atomic_files import replace_atomically
from foundation.errors import UserError
from foundation.file_reading import read_text, readable, why_unreadable
from pictures.class_colours import GREY, class_colour
from pictures.opening import DECODING_ERRORS, open_picture
from segmentation.types import IGNORED

Labels = NDArray[np.uint8]
MOST_CLASSES = 254  # 255 is ignored, and 254 stands for what is unknown
_UNKNOWN = MOST_CLASSES

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH, _COLOUR_TYPE, _GREY_TYPE = 24, 25, 0  # bytes of a PNG's header, and the type that is grey
_EXPECTED = "expected a PNG with the index of a class in each pixel, of a palette or grey with at most 8 bits"


def read_label_map(path: Path) -> Labels:
    """(H, W) the indices that a PNG stores, 0 to 255.

    Raises:
        UserError: there is no such file, it is damaged or no PNG, or it stores colours or 16 bits.
    """
    with readable(path, _EXPECTED):
        content = path.read_bytes()
    if not content.startswith(_SIGNATURE):
        raise UserError(f"{path}: is no PNG; {_EXPECTED}: other formats may change what a pixel holds")
    try:
        with open_picture(content) as image:
            image.load()
            mode, values = image.mode, np.array(image)
    except DECODING_ERRORS as error:
        raise UserError(f"{path}: {why_unreadable(error)}; {_EXPECTED}") from error
    if mode not in ("P", "L", "1"):
        raise UserError(f"{path}: {_refusal(mode)}")
    if mode == "L" and content[_COLOUR_TYPE] == _GREY_TYPE and content[_DEPTH] < 8:
        values //= 255 // (2 ** content[_DEPTH] - 1)  # Pillow spreads the 4 or 16 greys over 0 to 255
    return values.astype(np.uint8)


def _refusal(mode: str) -> str:
    if mode.startswith(("I", "F")):
        return f"stores 16 bits a pixel (mode {mode}); {_EXPECTED}: write it again as uint8, 255 is ignored"
    return (
        f"stores colours (mode {mode}); {_EXPECTED}. Say which index each colour means and write these: "
        "`labels = np.full(rgb.shape[:2], 255, np.uint8)`, for each colour `labels[(rgb == colour).all(2)] = "
        "index`, then `Image.fromarray(labels).save(path)`; docs/segmentation.md has it whole"
    )


def classes_of(labels: Labels, num_classes: int, first: int, where: Path) -> Labels:
    """Indices (H, W) as classes 0…K−1 or `IGNORED`.

    Args:
        first: the index of class 0; those below it are ignored, as 255 is.
        where: the file, for messages.
    Raises:
        UserError: an index is of no class; the message says where it stands.
    """
    table = np.full(256, _UNKNOWN, dtype=np.uint8)
    table[:first] = table[255] = IGNORED
    table[first : first + num_classes] = np.arange(num_classes)
    classes = table[labels]
    unknown = classes == _UNKNOWN
    if unknown.any():
        row, column = (int(place) for place in np.argwhere(unknown)[0])
        raise UserError(
            f"{where}: holds the index {labels[row, column]} at row {row}, column {column}, expected {first} "
            f"to {first + num_classes - 1}, the {num_classes} classes of the set, or 255 (ignored); "
            "correct the pixels or the list of classes"
        )
    return classes


def check_classes(names: Sequence[str], where: str | Path) -> list[str]:
    """The names of classes; UserError unless they are 1 to 254, each once."""
    if not 1 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names):
        raise UserError(
            f"{where}: holds {len(names)} names of classes, {len(set(names))} of them different; expected 1 "
            f"to {MOST_CLASSES}, each once"
        )
    return list(names)


def read_classes(file: Path) -> list[str]:
    """The classes of a file with one name a line, in the order of their indices."""
    lines = read_text(file, "expected the name of a class in each line, that of index 0 first").splitlines()
    return check_classes([line.strip() for line in lines if line.strip()], file)


def palette() -> NDArray[np.uint8]:
    """(256, 3) the colour of each index: black of 0, grey of what is ignored."""
    return np.array([(0, 0, 0), *map(class_colour, range(1, IGNORED)), GREY], dtype=np.uint8)


def write_label_map(path: Path, labels: Labels) -> None:
    """Writes classes (H, W) as a PNG with a palette: class 0 black, ignored pixels grey."""
    image = Image.fromarray(np.ascontiguousarray(labels))
    image.putpalette(palette().flatten().tolist())  # the pixels become its indices
    with replace_atomically(path) as temporary:
        image.save(temporary, format="PNG", optimize=False)
