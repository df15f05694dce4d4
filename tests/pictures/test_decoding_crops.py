"""Parts of pictures, decoded no more than needed, beside Pillow's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from foundation.errors import UserError
from pictures.decoding import decode_crop, load_image, plain_size, shrinking


def reference_crop(path: Path, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """Pillow alone: the whole picture decoded, its part cut out and resized."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(upright.crop(box).resize((size, size), Image.Resampling.BILINEAR)).astype(int)


def crop(path: Path, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    return decode_crop(path.read_bytes(), str(path), lambda height, width: box, size).astype(int)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_plain_jpegs_have_the_pixels_of_pillow(
    photograph: Callable, tmp_path: Path, mode: str, progressive: bool, subsampling: int
):
    image = Image.fromarray(photograph(67, 91)).convert(mode)
    options = {} if mode == "L" else {"subsampling": subsampling}
    image.save(tmp_path / "a.jpg", progressive=progressive, **options)
    content = (tmp_path / "a.jpg").read_bytes()
    assert plain_size(content) == (None if mode == "CMYK" else (67, 91))
    with Image.open(tmp_path / "a.jpg") as stored:
        assert np.array_equal(load_image(tmp_path / "a.jpg"), np.asarray(stored.convert("RGB")))


@pytest.mark.parametrize(
    "options", [{}, {"restart_marker_rows": 1}, {"progressive": True}, {"optimize": True}]
)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_what_lies_below_a_crop_does_not_change_it(
    photograph: Callable, tmp_path: Path, subsampling: int, options: dict[str, Any]
):
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph(200, 120)).save(path, subsampling=subsampling, **options)
    whole = load_image(path)
    for bottom in range(8, 201, 3):
        part = crop(path, (0, bottom - 8, 8, bottom), 8)
        assert np.array_equal(part, whole[bottom - 8 : bottom, :8]), bottom


def test_rows_below_a_crop_are_not_decoded(
    photograph: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, rows = tmp_path / "a.jpg", []
    Image.fromarray(photograph(200, 120)).save(path)
    decode = simplejpeg.decode_jpeg

    def count(*arguments: Any, **options: Any) -> np.ndarray:
        rows.append(len(pixels := decode(*arguments, **options)))
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", count)
    for bottom in (50, 180):
        crop(path, (0, 0, 50, bottom), 40)
    assert rows == [66, 196]


@pytest.mark.parametrize(
    ("box", "size", "shrink"),
    [
        ((0, 0, 448, 448), 224, 1),  # half the picture would be just enough
        ((0, 0, 895, 1000), 224, 1),
        ((0, 0, 896, 1000), 224, 2),
        ((0, 0, 1000, 1791.9), 224, 2),
        ((0, 0, 1792, 1792), 224, 4),
        ((100, 100, 3684, 3700), 224, 8),
        ((0, 0, 99999, 99999), 224, 8),
    ],
)
def test_a_picture_is_never_decoded_to_less_than_twice_the_crop(box, size, shrink):
    assert shrinking(box, size) == shrink


def test_boxes_are_rounded_to_whole_pixels(photograph: Callable, tmp_path: Path):
    # 16.4 … 48.6 is 32.2 wide: 32 pixels from 16 on. 7.6 … 39.7 is 32.1 high: 32 from 8 on.
    Image.fromarray(photograph(60, 80)).save(tmp_path / "a.png")
    pixels = load_image(tmp_path / "a.png")
    assert np.array_equal(crop(tmp_path / "a.png", (16.4, 7.6, 48.6, 39.7), 32), pixels[8:40, 16:48])


def test_boxes_end_at_the_border_and_have_a_pixel(photograph: Callable, tmp_path: Path):
    pixels = photograph(5, 7)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    # 6.4 … 7 rounds to one pixel at 6; 4.9 … 5 to one at 4, not at 5 outside.
    assert (crop(tmp_path / "a.png", (6.4, 4.9, 7, 5), 3) == pixels[4, 6]).all()
    assert np.array_equal(crop(tmp_path / "a.png", (0.2, 0, 5.4, 5), 5), pixels[:, :5])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_of_a_turned_jpeg_is_that_of_the_upright_picture(
    photograph: Callable, tmp_path: Path, orientation: int
):
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photograph(120, 160)).save(path, exif=exif)
    asked = []
    decode_crop(path.read_bytes(), "a", lambda *size: asked.append(size) or (0, 0, 9, 9), 8)
    assert asked == [(160, 120) if orientation >= 5 else (120, 160)]
    box = (10, 30, 110, 100)
    assert np.abs(crop(path, box, 48) - reference_crop(path, box, 48)).max() <= 1


def test_a_broken_jpeg_is_chosen_from_once_and_refused(photograph: Callable, tmp_path: Path):
    path, asked = tmp_path / "a.jpg", []
    Image.fromarray(photograph(100, 100)).save(path)
    content = path.read_bytes()
    with pytest.raises(UserError, match="^a.jpg: cannot be read as a picture .*truncated"):
        decode_crop(content[:-200], "a.jpg", lambda *size: asked.append(size) or (0, 0, 50, 50), 8)
    assert asked == [(100, 100)]  # a second choice would draw other random numbers


def real_jpegs(real_data: Path) -> list[Path]:
    folders = [real_data / "VOCdevkit" / f"VOC{year}" / "JPEGImages" for year in (2007, 2012)]
    return [path for folder in folders for path in sorted(folder.glob("*.jpg"))[:40]]


def test_crops_of_real_pictures_equal_pillows(real_data: Path):
    """224 pixels and more of about 500x375 are decoded whole: what differs is the rounding of two resizes."""
    rng, differences = np.random.default_rng(0), []
    for path in real_jpegs(real_data):
        with Image.open(path) as image:
            width, height = image.size
            whole = np.asarray(image.convert("RGB"))
        assert np.array_equal(load_image(path), whole)
        side = int(rng.uniform(0.5, 1) * min(height, width))
        left, top = (int(rng.integers(0, length - side + 1)) for length in (width, height))
        box = (left, top, left + side, top + side)
        difference = np.abs(crop(path, box, 224) - reference_crop(path, box, 224))
        assert difference.max() <= 2, path
        differences.append(difference.mean())
    assert len(differences) == 80 and max(differences) < 0.5


def test_scaled_crops_of_real_pictures_are_close_to_pillows(real_data: Path):
    """Crops of 40 pixels from these are as crops of 224 from pictures of several megapixels."""
    rng, differences, factors = np.random.default_rng(0), [], set()
    for path in real_jpegs(real_data):
        with Image.open(path) as image:
            width, height = image.size
        side = int(rng.uniform(0.5, 1) * min(height, width)) // 8 * 8
        left, top = (int(rng.integers(0, length - side + 1)) // 8 * 8 for length in (width, height))
        box = (left, top, left + side, top + side)
        factors.add(shrinking(box, 40))
        differences.append(np.abs(crop(path, box, 40) - reference_crop(path, box, 40)).mean())
    assert factors == {1, 2, 4}
    assert np.mean(differences) < 1.2 and max(differences) < 2
