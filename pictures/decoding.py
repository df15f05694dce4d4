"""Reading pictures: every file becomes (H, W, 3) uint8 RGB, or one clear error that names it.

Plain JPEGs are decoded by `pictures.jpeg`, everything else by Pillow.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from foundation.errors import UserError
from pictures.file_names import name_fitting
from pictures.jpeg import decode_plain, has_metadata
from pictures.opening import DECODING_ERRORS, FORMATS, TooManyPixelsError, check_pixels, open_picture

Box = tuple[float, float, float, float]  # left, top, right, bottom; pixels of the upright picture

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

# A decoder that scales averages over blocks, a resize weighs pixels by distance: with twice the pixels needed
# the crops differ by one in 255 on average, with just enough by three.
SPARE = 2
MARGIN = 16  # rows more than a crop needs: colours are interpolated from those of the block below


def load_image(path: str | Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read one picture file, as `decode_image` does."""
    return decode_image(read_file(path), str(path), size)


def read_file(path: str | Path) -> bytes:
    """The bytes of a picture file; UserError if there is none, or it cannot be read."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        several = name_fitting(Path(path))
        raise UserError(f"{path}: no such picture{several}; check the path and the data folder") from None
    except (OSError, ValueError) as error:  # the latter of a name with a NUL in it
        raise _refusal(str(path), b"?", error) from error


def decode_image(content: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Decode one picture.

    Grey and palette pictures become RGB, CMYK is converted, alpha is dropped (the colours under it stay as
    stored), 16-bit grey is scaled to 8 bit. The EXIF orientation is applied, so that the picture stands as
    its viewers saw it.

    Args:
        content: of the file; it decides the format.
        name: of the picture, for messages only.
        size: (height, width) the annotation states. Some annotations were made on the unrotated picture:
            where only that one has this size, the EXIF orientation is not applied.
    Returns:
        (H, W, 3) uint8, RGB, writable.
    Raises:
        UserError: the content is empty, damaged, no picture, of another size than annotated, or it has more
            pixels than MAX_PICTURE_PIXELS (`pictures.opening`).
    """
    plain = plain_size(content)
    if plain is not None and (size is None or tuple(size) == plain):
        pixels = decode_plain(content, plain, 1)
        if pixels is not None:
            return pixels
    try:
        with open_picture(content) as image:
            upright, stored = upright_and_stored(image)
    except DECODING_ERRORS as error:
        raise _refusal(name, content, error) from error
    if size is None or (upright.height, upright.width) == tuple(size):
        return np.array(upright)
    if (stored.height, stored.width) == tuple(size):
        return np.array(stored)
    raise UserError(
        f"{name}: the picture is {upright.height}x{upright.width} (height x width), its annotation "
        f"says {size[0]}x{size[1]}; the file and the annotation do not belong together: replace one of them"
    )


def upright_and_stored(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """A picture of Pillow's in RGB, turned by its EXIF orientation and as it is stored.

    The conversions are those that `decode_image` lists; damaged pictures raise `DECODING_ERRORS`.
    """
    image.load()
    stored = _to_rgb(image)  # not yet turned; its EXIF data stay readable
    turn = _UPRIGHT.get(_orientation(stored))
    return stored if turn is None else stored.transpose(turn), stored


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of the picture as `load_image` gives it; see `upright_and_stored_size`."""
    return upright_and_stored_size(path)[0]


def upright_and_stored_size(path: str | Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of the picture turned by its EXIF orientation, and as it is stored.

    They are read from the file's header if that tells. A file that cannot be read, or has no header of a
    picture, raises a UserError.
    """
    content = read_file(path)
    try:
        with open_picture(content) as image:
            if image.format == "TIFF":  # Pillow itself turns these, when they are loaded
                image.load()
            stored = (image.height, image.width)
            return stored[::-1] if _orientation(image) in (5, 6, 7, 8) else stored, stored
    except DECODING_ERRORS as error:
        raise _refusal(str(path), content, error) from error


def decode_crop(content: bytes, name: str, choose: Callable[[int, int], Box], size: int) -> NDArray[np.uint8]:
    """Decode a part of a picture, resized to a square, antialiased bilinear.

    Args:
        choose: the part, from height and width of the upright picture; it is rounded to whole pixels, or to
            twos, fours or eights where the picture is large enough to be decoded smaller.
        size: pixels of the result's side.
    Returns:
        (size, size, 3) uint8, RGB.
    Raises:
        UserError: as `decode_image`, which explains the other arguments.
    """
    plain = plain_size(content)
    whole = decode_image(content, name) if plain is None else None
    height, width = plain or whole.shape[:2]  # type: ignore[union-attr]
    box = choose(height, width)
    shrink = shrinking(box, size)
    left, right = _rounded(box[0], box[2], width, shrink)
    top, bottom = _rounded(box[1], box[3], height, shrink)
    if whole is None:
        upper = decode_plain(content, (min(bottom + MARGIN, height), width), shrink)
        if upper is not None:
            return _resize(upper[top // shrink : bottom // shrink, left // shrink : right // shrink], size)
        whole = decode_image(content, name)
    return _resize(whole[top:bottom, left:right], size)


def plain_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG in colour or grey that needs no turning; None for everything else."""
    if not content.startswith(b"\xff\xd8"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        check_pixels(height, width, len(content))
        upright = not has_metadata(content)
        if not upright:
            with open_picture(content) as image:
                upright = image.format == "JPEG" and _orientation(image) not in _UPRIGHT
    except DECODING_ERRORS:
        return None
    return (height, width) if upright and colours in ("YCbCr", "Gray") else None


def shrinking(box: Box, size: int) -> int:
    """By how much a picture may be decoded smaller for this part of it to become a square of `size`."""
    side = min(box[2] - box[0], box[3] - box[1])
    return next((factor for factor in (8, 4, 2) if side >= SPARE * factor * size), 1)


def _rounded(low: float, high: float, length: int, grid: int) -> tuple[int, int]:
    """The part low … high of 0 … length in multiples of `grid`, at least one, inside."""
    cells = max(length // grid, 1)
    extent = min(max(round((high - low) / grid), 1), cells)
    start = min(max(round(low / grid), 0), cells - extent)
    return start * grid, (start + extent) * grid


def _resize(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """torch's resize of bytes: Pillow's to rounding, in a third of the time."""
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    resized = F.interpolate(planes, (size, size), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0).numpy()


def _refusal(name: str, content: bytes, error: Exception) -> UserError:
    if isinstance(error, TooManyPixelsError | UserError):
        return UserError(f"{name}: {error}")
    if not content:
        reason = "the file is empty (0 bytes), expected a picture"
    elif isinstance(error, UnidentifiedImageError):
        reason = f"no picture format begins like this file, expected {', '.join(FORMATS)}"
    else:
        reason = f"cannot be read as a picture ({str(error) or type(error).__name__})"
    return UserError(f"{name}: {reason}; replace the file or remove it from the list")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        # 16 bits are scaled to 8: Pillow's own conversion would clip at 255 instead.
        values = np.asarray(image)
        low, high = values.min(), values.max()
        if values.dtype.kind == "f" or low < 0 or high > 65535:
            raise ValueError(f"{values.dtype} pixels from {low} to {high}, expected 8 or 16 bit")
        rgb = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")
        rgb.info = dict(image.info)
        return rgb
    if image.mode == "P":
        # Pillow's direct way to RGB warns about palettes with transparency; the colours are the same.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_EXIF_ORIENTATION, 1)
    except DECODING_ERRORS:
        # Damaged EXIF beside good pixels: cameras and editors write it, viewers show the picture as stored.
        return 1
