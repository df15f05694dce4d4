"""Plain JPEGs decoded by simplejpeg, no larger and no further down than is needed.

simplejpeg calls libjpeg-turbo, as Pillow does, and gives the same pixels in two thirds of the time. It also
decodes at a half, a quarter or an eighth of the size. docs/benchmarks.md has the measurements.
"""

import numpy as np
import simplejpeg
from numpy.typing import NDArray

# Marker codes (ITU-T T.81, table B.1): the frame of a baseline picture; tables, comments, application data.
BASELINE_FRAME, TABLES = 0xC0, {0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}


def decode_plain(content: bytes, size: tuple[int, int], shrink: int) -> NDArray[np.uint8] | None:
    """The upper rows of a plain JPEG, as many as `size` says, or more; None where the file is not in order.

    Args:
        size: (rows, width) before shrinking, pixels; the width is the picture's.
        shrink: 1, 2, 4 or 8.
    Returns:
        (rows / shrink or more, width / shrink, 3) uint8, RGB, rounded up.
    """
    upper = _upper_part(content, size[0])
    height, width = (-(-side // shrink) for side in size)
    try:
        return simplejpeg.decode_jpeg(
            upper or content, min_height=height, min_width=width, min_factor=shrink, strict=upper is None
        )
    except ValueError:
        return None  # Pillow decides: it reads some, and knows what to say of the others


def has_metadata(content: bytes) -> bool:
    """Whether a JPEG may say that it is to be turned (Exif, XMP), or hold several pictures."""
    head = content[: content.find(b"\xff\xda")]
    return b"\xff\xe1" in head or b"\xff\xe2" in head


def _upper_part(content: bytes, rows: int) -> bytes | None:
    """A baseline JPEG that says it has this many rows, so that the decoder stops there.

    The decoder complains about the data that are left, so complaints must go unheard (strict=False). A file
    that was cut off lacks its end mark, and gets no such treatment; nor does one with several scans.

    Returns:
        None where the picture has no more rows, or is stored otherwise.
    """
    at, end = 2, len(content) - 10
    while at < end and content[at] == 0xFF:
        kind, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        if kind == BASELINE_FRAME:
            height = int.from_bytes(content[at + 5 : at + 7], "big")
            components, scan = content[at + 9], content.find(b"\xff\xda", at)
            if rows >= height or content[scan + 4] != components or not content.endswith(b"\xff\xd9"):
                return None
            return content[: at + 5] + rows.to_bytes(2, "big") + content[at + 7 :]
        if kind >= BASELINE_FRAME and kind not in TABLES:
            return None
        at += 2 + length
    return None
