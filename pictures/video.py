"""Video files read and written picture by picture, with PyAV."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.atomic_files import replace_atomically
from foundation.errors import UserError
from pictures.opening import TooManyPixelsError, check_pixels

Frame = NDArray[np.uint8]

# FFmpeg's names of what our suffixes promise. Playlists, which it knows too, make it read other files.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm"


def _pyav() -> Any:
    try:
        import av  # an extra
    except ImportError as error:
        raise UserError(
            f"video files need PyAV ({error}); install it: pip install 'residual-backbones[video]'"
        ) from error
    return av


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Fraction, Iterator[Frame]]]:
    """Gives a file's frame rate and its frames, (H, W, 3) uint8 RGB, as stored and not turned.

    Raises:
        UserError: PyAV is not installed, or the file is no video; while reading, that it is damaged.
    """
    av = _pyav()
    try:
        container = av.open(str(path), options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"})
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{path}: not a readable video ({error})") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{path}: holds no pictures, expected a video")
        stream = container.streams.video[0]

        def frames() -> Iterator[Frame]:
            try:
                for frame in container.decode(stream):
                    check_pixels(frame.height, frame.width, path.stat().st_size)
                    yield frame.to_ndarray(format="rgb24")
            except TooManyPixelsError as error:
                raise UserError(f"{path}: {error}") from error
            except av.FFmpegError as error:
                found = "what was found before stands in predictions.json"
                raise UserError(f"{path}: damaged ({error}); {found}") from error

        yield stream.average_rate or Fraction(25), frames()


def write_video(path: Path, rate: Fraction, frames: Iterator[Frame]) -> None:
    """Writes an MP4 file (H.264) of frames (H, W, 3) uint8 RGB of one size; it is whole or absent.

    The format needs even sides: at odd ones the last row or column is repeated.
    """
    av = _pyav()
    first = next(frames, None)
    if first is None:
        raise UserError(f"{path}: nothing to write, the video holds no pictures")
    height, width, _ = first.shape
    margin = ((0, height % 2), (0, width % 2), (0, 0))
    with replace_atomically(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, pix_fmt="yuv420p")
        stream.height, stream.width = height + height % 2, width + width % 2
        for frame in chain([first], frames):
            picture = av.VideoFrame.from_ndarray(np.pad(frame, margin, mode="edge"), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
