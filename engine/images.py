"""Reading pictures: every file becomes (H, W, 3) uint8 RGB, or one clear error that names it."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from engine.errors import UserError

# What Pillow's readers raise on damaged files. zlib, struct and EOF errors escape from single plugins.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(path: str | Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read one picture.

    Grey and palette pictures become RGB, CMYK is converted, alpha is dropped (the colours under it stay as
    stored), 16-bit grey is scaled to 8 bit. The EXIF orientation is applied, so that the picture stands as
    its viewers saw it.

    Args:
        path: the file; its content decides the format, not its name.
        size: (height, width) the annotation states. Some annotations were made on the unrotated picture:
            where only that one has this size, the EXIF orientation is not applied.
    Returns:
        (H, W, 3) uint8, RGB, writable.
    Raises:
        UserError: the file is missing, empty, damaged, no picture, or of another size than annotated.
    """
    stored = _decode(Path(path))
    upright = _apply_orientation(stored)
    if size is None or _size(upright) == tuple(size):
        return np.array(upright)
    if _size(stored) == tuple(size):
        return np.array(stored)
    raise UserError(
        f"{path}: the picture is {_size(upright)[0]}x{_size(upright)[1]} (height x width), its annotation "
        f"says {size[0]}x{size[1]}; the file and the annotation do not belong together: replace one of them"
    )


def _size(image: Image.Image) -> tuple[int, int]:
    return image.height, image.width


def _decode(path: Path) -> Image.Image:
    """The stored pixels as an RGB picture, not yet rotated; its EXIF data stay readable."""
    try:
        # An open file is not memory-mapped: that garbles uncompressed TIFFs with orientation 5 to 8.
        with path.open("rb") as file, Image.open(file) as image:
            image.load()
            return _to_rgb(image)
    except FileNotFoundError:
        raise UserError(f"{path}: no such picture; check the path and the data folder") from None
    except _DECODING_ERRORS as error:
        raise UserError(
            f"{path}: {_diagnosis(path, error)}; replace the file or remove it from the list"
        ) from error


def _diagnosis(path: Path, error: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty (0 bytes), expected a picture"
    if isinstance(error, UnidentifiedImageError):
        return "no picture format begins like this file"
    return f"cannot be read as a picture ({str(error) or type(error).__name__})"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        rgb = Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
        rgb.info = dict(image.info)
        return rgb
    if image.mode == "P":
        # Pillow's direct way to RGB warns about palettes with transparency; the colours are the same.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _to_8_bit(values: np.ndarray) -> NDArray[np.uint8]:
    """Grey values of 16 bits scaled to 8: Pillow's own conversion clips at 255 instead."""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{values.dtype} pixels from {values.min()} to {values.max()}, expected 8 or 16 bit")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _apply_orientation(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DECODING_ERRORS:
        # Damaged EXIF beside good pixels: cameras and editors write it, viewers show the picture as stored.
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
