"""Pictures as callers in Python hold them: paths, Pillow's, arrays and tensors become (H, W, 3) uint8 RGB."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from foundation.errors import UserError
from pictures.decoding import load_image, upright_and_stored
from pictures.opening import DECODING_ERRORS

GivenPicture: TypeAlias = str | Path | Image.Image | NDArray[np.uint8] | Tensor

_EXPECTED = {
    "array": "an array (height, width, 3) of uint8, RGB in 0–255",
    "tensor": "a tensor (3, height, width) of uint8, RGB in 0–255",
}


def rgb_pixels(picture: GivenPicture) -> NDArray[np.uint8]:
    """One picture as (H, W, 3) uint8 RGB, upright; nothing is scaled, and the caller's picture is unchanged.

    Args:
        picture: the path of a file; a picture of Pillow's, treated as its file would be (turned by its EXIF
            orientation, made RGB, alpha dropped, 16 bit scaled to 8); an array (H, W, 3) or a tensor
            (3, H, W) of uint8, both RGB. OpenCV's arrays are BGR: give `image[..., ::-1]`.
    Raises:
        UserError: the file cannot be read, or an array or tensor has another shape or type.
    """
    if isinstance(picture, str | Path):
        return load_image(picture)
    if isinstance(picture, Image.Image):
        try:
            return np.array(upright_and_stored(picture)[0])
        except DECODING_ERRORS as error:
            name = getattr(picture, "filename", "") or f"a picture of mode {picture.mode}"
            raise UserError(
                f"{name}: Pillow cannot give its pixels ({error}); give another picture"
            ) from error
    if isinstance(picture, np.ndarray):
        _check("array", picture.shape, picture.dtype)
        return np.ascontiguousarray(picture)
    if isinstance(picture, Tensor):
        _check("tensor", tuple(picture.shape), picture.dtype)
        return np.ascontiguousarray(picture.detach().cpu().permute(1, 2, 0).numpy())
    raise UserError(
        f"a picture must be a path, a picture of Pillow's, {_EXPECTED['array']}, or {_EXPECTED['tensor']}; "
        f"got a {type(picture).__name__}"
    )


def _check(kind: str, shape: tuple[int, ...], dtype: np.dtype | torch.dtype) -> None:
    """Refuses an array or tensor that is no picture in uint8 RGB, and says how it becomes one."""
    channels_last = kind == "array"
    channels = (shape[-1] if channels_last else shape[0]) if len(shape) == 3 else None
    if channels != 3:
        remedy = _remedy_for_shape(shape, channels, channels_last)
    elif dtype not in (np.dtype(np.uint8), torch.uint8):
        floating = "float" in str(dtype)
        scaled = "(255 * picture).round()" if floating else "picture"
        cast = f"{scaled}.astype('uint8')" if channels_last else f"{scaled}.to(torch.uint8)"
        remedy = f"give {cast}" + (" if its values are in 0–1, not normalised" if floating else "")
    elif 0 in shape:
        remedy = "give one with pixels"
    else:
        return
    raise UserError(f"a picture is {shape} of {dtype}, expected {_EXPECTED[kind]}; {remedy}")


def _remedy_for_shape(shape: tuple[int, ...], channels: int | None, channels_last: bool) -> str:
    if len(shape) == 4:
        return "give a list of pictures in place of a batch, list(pictures)"
    if len(shape) == 2 or channels == 1:
        if not channels_last:
            return "give picture.expand(3, -1, -1) of a grey one"
        return (
            f"give numpy.stack([picture{'' if len(shape) == 2 else '[..., 0]'}] * 3, axis=-1) of a grey one"
        )
    if channels == 4:
        return f"give picture[{'..., :3' if channels_last else ':3'}] to drop the fourth channel, alpha"
    if len(shape) == 3 and (shape[0] if channels_last else shape[-1]) in (1, 3):
        wanted = (
            ("picture.transpose(1, 2, 0)", "last") if channels_last else ("picture.permute(2, 0, 1)", "first")
        )
        return f"give {wanted[0]}, with the channels {wanted[1]}"
    return "give its three colour channels"
