"""How Pillow may open a picture: the formats that data sets hold, and no more pixels than a limit.

Pillow knows some forty formats, and starts another program (Ghostscript) to draw some of them. Which format a
file has, its content tells, whatever its name.
"""

import os
import re
import warnings
from importlib.util import find_spec
from io import BytesIO

from PIL import Image

from foundation.errors import UserError
from foundation.file_reading import UNREADABLE

# Those of our suffixes, and what cameras and web sites write under such names. MPO is opened as JPEG.
_NEW_IN_PILLOW = ("AVIF",) if find_spec("PIL.AvifImagePlugin") else ()
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000", *_NEW_IN_PILLOW)
LIMIT = "MAX_PICTURE_PIXELS"  # environment variable: worker processes and every command know it

# A file may stand for this many pixels whatever its length; of more pixels each byte may stand for so many.
# JPEGs of one colour reach about 170 pixels a byte, PNGs about 1,000.
SMALL, PIXELS_OF_BYTE = 1 << 22, 4000

# What Pillow's readers raise on damaged files. Want of memory is no fault of theirs.
DECODING_ERRORS = (
    *(error for error in UNREADABLE if error is not MemoryError),
    Image.DecompressionBombError,
)

# Pillow warns of more pixels than its limit, and opens them. Here they are refused: an error says so.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)


class TooManyPixelsError(ValueError):
    """A picture beyond the limit; the message says how many pixels it has, and how to allow them."""


def open_picture(content: bytes) -> Image.Image:
    """The picture in these bytes, of which Pillow has read the header.

    Raises:
        DECODING_ERRORS: no picture in one of FORMATS, damaged, or TooManyPixelsError.
        UserError: the environment variable MAX_PICTURE_PIXELS is no whole number above 0.
    """
    limit = pixel_limit()
    Image.MAX_IMAGE_PIXELS = limit  # Pillow's readers hold single parts of a file to it
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        pixels = int(re.findall(r"\d+", str(error))[0])
        raise TooManyPixelsError(f"it has {pixels:,} pixels, {_remedy(limit, pixels)}") from error
    check_pixels(image.height, image.width, len(content))
    return image


def check_pixels(height: int, width: int, length: int) -> None:
    """Raises a TooManyPixelsError if a file of so many bytes may not hold a picture of this size."""
    limit, pixels = pixel_limit(), height * width
    if limit is not None and pixels > limit:
        raise TooManyPixelsError(f"{width}x{height} are {pixels:,} pixels, {_remedy(limit, pixels)}")
    if LIMIT not in os.environ and pixels > max(SMALL, PIXELS_OF_BYTE * length):
        text = f"{width}x{height} pixels in {length:,} bytes: it is damaged, or of one colour"
        raise TooManyPixelsError(f"{text}; to read it, set the environment variable {LIMIT}={pixels}")


def pixel_limit() -> int | None:
    """The most pixels that a picture may have: MAX_PICTURE_PIXELS, or Pillow's own limit, 89 million."""
    text = os.environ.get(LIMIT)
    if text is None:
        return Image.MAX_IMAGE_PIXELS
    if not text.isdecimal() or int(text) == 0:
        raise UserError(f"the environment variable {LIMIT} is {text!r}, expected a whole number above 0")
    return int(text)


def _remedy(limit: int | None, pixels: int) -> str:
    option = f"set the environment variable {LIMIT}={pixels}"
    return f"more than the limit of {limit or 0:,}; make it smaller, or {option}"
