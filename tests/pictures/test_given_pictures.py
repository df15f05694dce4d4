"""A path, a picture of Pillow's, an array and a tensor of one picture are the same pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from foundation.errors import UserError
from pictures.decoding import load_image
from pictures.given_pictures import rgb_pixels

# Two rows, three columns; red 0 … 5, green 10 … 15, blue 20 … 25.
PIXELS = (np.arange(6).reshape(2, 3)[..., None] + [0, 10, 20]).astype(np.uint8)


def test_all_forms_of_one_picture_are_the_same(tmp_path: Path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    reversed_view = np.ascontiguousarray(PIXELS[..., ::-1])[..., ::-1]  # as of OpenCV's BGR, strides negative
    for form in (str(path), path, Image.open(path), PIXELS, reversed_view, tensor):
        pixels = rgb_pixels(form)
        assert pixels.dtype == np.uint8 and pixels.flags["C_CONTIGUOUS"]
        assert pixels.tolist() == PIXELS.tolist()


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_a_picture_of_pillow_is_what_its_file_is(tmp_path: Path, mode: str):
    grey = Image.fromarray(PIXELS).convert("L")
    image = Image.fromarray(np.asarray(grey, np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path, exif=exif)
    pixels = rgb_pixels(Image.open(path))
    assert pixels.shape == (3, 2, 3)
    assert np.array_equal(pixels, load_image(path))


@pytest.mark.parametrize(
    ("shape", "dtype", "remedy"),
    [
        ((5, 4), np.uint8, r"give numpy.stack\(\[picture\] \* 3, axis=-1\)"),
        ((5, 4, 1), np.uint8, r"give numpy.stack\(\[picture\[..., 0\]\] \* 3, axis=-1\)"),
        ((5, 4, 4), np.uint8, r"give picture\[..., :3\] to drop the fourth channel, alpha"),
        ((3, 5, 4), np.uint8, r"give picture\[..., :3\]"),
        ((3, 5, 7), np.uint8, r"give picture.transpose\(1, 2, 0\), with the channels last"),
        ((2, 5, 4, 3), np.uint8, r"list of pictures in place of a batch"),
        ((5, 4, 2), np.uint8, "give its three colour channels"),
        (
            (5, 4, 3),
            np.float32,
            r"give \(255 \* picture\).round\(\).astype\('uint8'\) if its values are in 0–1",
        ),
        ((5, 4, 3), np.uint16, r"give picture.astype\('uint8'\)$"),
        ((0, 4, 3), np.uint8, "give one with pixels"),
    ],
)
def test_other_arrays_are_refused(shape: tuple[int, ...], dtype: type, remedy: str):
    expected = rf"of {np.dtype(dtype)}, expected an array \(height, width, 3\) of uint8, RGB in 0–255; "
    with pytest.raises(
        UserError, match=rf"a picture is \({', '.join(map(str, shape))}\) {expected}.*{remedy}"
    ):
        rgb_pixels(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    ("shape", "dtype", "remedy"),
    [
        ((5, 4), torch.uint8, r"give picture.expand\(3, -1, -1\)"),
        ((1, 5, 4), torch.uint8, r"give picture.expand\(3, -1, -1\)"),
        ((4, 5, 7), torch.uint8, r"give picture\[:3\]"),
        ((5, 7, 3), torch.uint8, r"give picture.permute\(2, 0, 1\), with the channels first"),
        ((2, 3, 5, 4), torch.uint8, "give a list of pictures in place of a batch"),
        (
            (3, 5, 4),
            torch.float32,
            r"give \(255 \* picture\).round\(\).to\(torch.uint8\) if its values are in 0–1",
        ),
    ],
)
def test_other_tensors_are_refused(shape: tuple[int, ...], dtype: torch.dtype, remedy: str):
    with pytest.raises(UserError, match=rf"expected a tensor \(3, height, width\) of uint8.*; {remedy}"):
        rgb_pixels(torch.zeros(shape, dtype=dtype))


def test_what_is_no_picture_is_named():
    with pytest.raises(UserError, match="got a bytes"):
        rgb_pixels(b"\xff\xd8")
    with pytest.raises(UserError, match="absent.png: no such picture"):
        rgb_pixels("absent.png")


def test_a_cut_file_that_pillow_had_opened_is_named(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    with pytest.raises(UserError, match=r"cut.png: Pillow cannot give its pixels \("):
        rgb_pixels(Image.open(tmp_path / "cut.png"))
