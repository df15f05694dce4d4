"""Plain JPEGs decoded in part, beside the whole picture by the same decoder."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from pictures.decoding import MARGIN
from pictures.jpeg import decode_plain, has_metadata


def jpeg(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "jpeg", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_what_lies_below_does_not_change_a_shrunk_picture(
    photograph: Callable, tmp_path: Path, shrink: int, subsampling: int
):
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph(400, 120)).save(path, subsampling=subsampling)
    content = path.read_bytes()
    whole = simplejpeg.decode_jpeg(
        content, min_height=400 // shrink, min_width=120 // shrink, min_factor=shrink
    )
    for bottom in range(shrink, 401, shrink):
        pixels = decode_plain(content, (min(bottom + MARGIN, 400), 120), shrink)
        assert np.array_equal(pixels[: bottom // shrink], whole[: bottom // shrink]), bottom


def test_rows_asked_for_and_no_more(photograph: Callable):
    content = jpeg(photograph(200, 120))
    assert decode_plain(content, (50, 120), 1).shape == (50, 120, 3)
    assert decode_plain(content, (51, 120), 4).shape == (13, 30, 3)  # 51 / 4 rounded up
    assert decode_plain(content, (200, 120), 1).shape == (200, 120, 3)
    # A progressive picture has no rows that stand alone: all are decoded.
    assert decode_plain(jpeg(photograph(200, 120), progressive=True), (50, 120), 1).shape == (200, 120, 3)


def test_a_file_that_is_not_in_order_is_left_to_others(photograph: Callable):
    content = jpeg(photograph(200, 120))
    for broken in (content[:-200], b"", b"\xff\xd8 no picture", content[:-2]):
        assert decode_plain(broken, (50, 120), 1) is None


def test_metadata_is_seen_only_before_the_pixels(photograph: Callable):
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = jpeg(photograph(16, 16))
    assert has_metadata(jpeg(photograph(16, 16), exif=exif)) and not has_metadata(plain)
    assert not has_metadata(plain + b"\xff\xe1")
