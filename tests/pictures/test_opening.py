"""Pillow opens the formats that data sets hold, and no more pixels than are allowed."""

import ast
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from foundation.errors import UserError
from pictures.decoding import decode_crop, image_size, load_image
from pictures.opening import FORMATS, LIMIT, TooManyPixelsError, check_pixels, open_picture, pixel_limit


def png(width: int, height: int) -> bytes:
    """A grey PNG that claims a size, and has one row of 100 pixels."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(101))),
        (b"IEND", b""),
    ]
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.eps"])
def test_no_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / name).write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(
        UserError, match="begins like this file, expected JPEG, PNG, WEBP, BMP, TIFF, PPM, GIF"
    ):
        load_image(tmp_path / name)
    with pytest.raises(UserError, match="no picture format"):
        image_size(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "AVIF"])
def test_every_format_is_opened_whatever_its_name(tmp_path: Path, format: str):
    Image.new("RGB", (8, 6), (200, 0, 0)).save(tmp_path / "a.jpg", format)
    pixels = load_image(tmp_path / "a.jpg")
    assert pixels.shape == (6, 8, 3) and pixels[..., 0].min() > 190 and pixels[..., 1].max() < 10


@pytest.mark.parametrize("format", ["PCX", "TGA", "SGI", "ICO", "EPS", "PDF"])
def test_other_formats_are_none(tmp_path: Path, format: str):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg", format)
    with pytest.raises(UnidentifiedImageError):
        open_picture((tmp_path / "a.jpg").read_bytes())


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (20000, 10000, "a.png: it has 200,000,000 pixels, more than the limit of 89,478,485"),
        (17000, 10000, "a.png: 17000x10000 are 170,000,000 pixels, more than the limit of 89,478,485"),
        (9000, 9000, "a.png: 9000x9000 pixels in 69 bytes: it is damaged, or of one colour; to read it, set"),
    ],
)
def test_too_many_pixels_are_refused_at_once(
    tmp_path: Path, width: int, height: int, message: str, bounded: Callable
):
    (tmp_path / "a.png").write_bytes(png(width, height))
    for read in (
        load_image,
        image_size,
        lambda p: decode_crop(p.read_bytes(), str(p), lambda h, w: (0, 0, w, h), 8),
    ):
        with bounded(), pytest.raises(UserError) as caught:
            read(tmp_path / "a.png")
        assert message in str(caught.value) and "MAX_PICTURE_PIXELS" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_jpeg_that_claims_more_than_its_bytes(tmp_path: Path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg")
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 9000, 9000)  # decoded, it would be 243 MB of grey
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match="9000x9000 pixels in .* damaged"):
        load_image(tmp_path / "a.jpg")


def test_the_limit_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert pixel_limit() == Image.MAX_IMAGE_PIXELS == 89_478_485
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # put back afterwards
    monkeypatch.setenv(LIMIT, "200000000")
    assert open_picture(png(20000, 10000)).size == (20000, 10000)
    check_pixels(20000, 10000, 10)
    with pytest.raises(TooManyPixelsError, match="200,020,000 pixels, more than the limit of 200,000,000"):
        open_picture(png(20002, 10000))
    monkeypatch.setenv(LIMIT, "99")
    Image.new("RGB", (10, 10)).save(tmp_path / "a.jpg")
    with pytest.raises(
        UserError, match="10x10 are 100 pixels, more than the limit of 99; make it smaller, or"
    ):
        load_image(tmp_path / "a.jpg")
    for wrong in ("", "0", "many", "-1", "1e9"):
        monkeypatch.setenv(LIMIT, wrong)
        with pytest.raises(
            UserError, match=f"MAX_PICTURE_PIXELS is {wrong!r}, expected a whole number above 0"
        ):
            load_image(tmp_path / "a.jpg")


def test_pictures_of_one_colour_are_read_to_a_ratio():
    check_pixels(2048, 2048, 1)
    check_pixels(4000, 3000, 3000)  # 4,000 pixels a byte
    with pytest.raises(TooManyPixelsError, match="4000x3000 pixels in 2,999 bytes"):
        check_pixels(3000, 4000, 2999)


def test_pillow_opens_files_here_alone(root: Path):
    places = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if not {"tests", ".venv", "runs"} & set(path.relative_to(root).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr == "open"
        and ast.unparse(node.value).endswith("Image")
    ]
    assert places == ["pictures/opening.py"]
