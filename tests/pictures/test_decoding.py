import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps
from torchvision.io import decode_image

from foundation.errors import UserError
from pictures.decoding import MARGIN, decode_crop, image_size, load_image, plain_size, shrinking
from pictures.jpeg import decode_plain

ORIENTATION = 0x0112
# How the stored picture must be turned to stand upright (EXIF 2.32, 4.6.4 A), in NumPy's terms.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def corners(height: int = 16, width: int = 24) -> np.ndarray:
    """A picture whose quarters differ, grey 0, 60, 120, 240, row by row."""
    values = np.repeat(np.repeat([[0, 60], [120, 240]], height // 2, 0), width // 2, 1)
    return values.astype(np.uint8)


def save(path: Path, image: Image.Image, orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    image.save(path, exif=exif, **({"lossless": True} if path.suffix == ".webp" else {}))
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *[("jpg", mode) for mode in ("L", "RGB", "CMYK")],
        *[("png", mode) for mode in ("L", "RGB", "P", "RGBA", "I;16")],
        *[("tif", mode) for mode in ("L", "RGB", "P", "RGBA", "I;16")],
        ("webp", "RGB"),
    ],
)
def test_every_orientation_of_every_kind(tmp_path: Path, suffix: str, mode: str, orientation: int):
    grey = corners()
    image = (
        Image.fromarray(grey.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(grey).convert(mode)
    )
    pixels = load_image(save(tmp_path / f"a.{suffix}", image, orientation))
    expected = UPRIGHT[orientation](np.repeat(grey[..., None], 3, axis=2)).astype(int)
    assert pixels.shape == expected.shape
    # JPEG and the adaptive palette are off by a little; another orientation by 60 and more.
    assert np.abs(pixels - expected).max() <= 12


@pytest.mark.parametrize("orientation", [None, 1, 2, 5, 6, 8, 9])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff"])
def test_the_header_tells_the_size(tmp_path: Path, suffix: str, orientation: int | None):
    path = save(tmp_path / f"a{suffix}", Image.fromarray(corners()), orientation)
    assert image_size(path) == load_image(path).shape[:2]


def test_a_file_without_header_has_no_size(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(b"GIF")
    with pytest.raises(UserError, match=r"a\.jpg: no picture format begins like this file"):
        image_size(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"b\.jpg: no such picture"):
        image_size(tmp_path / "b.jpg")


def test_annotated_size_decides_on_rotation(tmp_path: Path):
    # Stored 24 wide and 16 high, upright 16 wide and 24 high.
    path = save(tmp_path / "a.png", Image.fromarray(corners()), orientation=6)
    upright, stored = load_image(path, (24, 16)), load_image(path, (16, 24))
    assert np.array_equal(upright, load_image(path))
    assert np.array_equal(stored[..., 0], corners())
    assert np.array_equal(upright, np.rot90(stored, -1))


def test_other_sizes_are_refused(tmp_path: Path):
    path = save(tmp_path / "a.png", Image.fromarray(corners()), orientation=6)
    with pytest.raises(UserError) as error:
        load_image(path, (24, 17))
    assert str(error.value).startswith(
        f"{path}: the picture is 24x16 (height x width), its annotation says 24x17;"
    )


def test_square_pictures_are_turned_whatever_the_annotation(tmp_path: Path):
    path = save(tmp_path / "a.png", Image.fromarray(corners(16, 16)), orientation=6)
    assert np.array_equal(load_image(path, (16, 16))[..., 0], np.rot90(corners(16, 16), -1))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientations_change_nothing(tmp_path: Path, orientation: int):
    path = save(tmp_path / "a.png", Image.fromarray(corners()), orientation)
    assert np.array_equal(load_image(path)[..., 0], corners())


def test_damaged_exif_beside_good_pixels(tmp_path: Path):
    path = tmp_path / "a.jpg"
    Image.fromarray(corners()).save(path, exif=b"Exif\x00\x00MM\x00*\x00\x00")
    assert load_image(path).shape == (16, 24, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_is_scaled(tmp_path: Path, suffix: str):
    # 65535 / 255 = 257: 257 k is k; rounded, 128 is still 0 and 129 is 1 (0.498 and 0.502).
    values = np.array([[0, 128, 129, 257, 32896, 65406, 65407, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    pixels = load_image(tmp_path / f"a.{suffix}")
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255, 255]
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("value", [-1, 70000])
def test_wider_integers_are_refused(tmp_path: Path, value: int):
    Image.fromarray(np.full((2, 3), value, dtype=np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a\.tif: cannot be read .*int32 pixels from {value} to {value}"):
        load_image(tmp_path / "a.tif")


def test_floats_are_refused(tmp_path: Path):
    Image.fromarray(np.full((2, 3), 0.5, dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="float32 pixels from 0.5 to 0.5, expected 8 or 16 bit"):
        load_image(tmp_path / "a.tif")


def test_alpha_is_dropped_and_colours_stay(tmp_path: Path):
    Image.new("RGBA", (2, 1), (200, 10, 30, 0)).save(tmp_path / "a.png")
    Image.new("LA", (2, 1), (90, 0)).save(tmp_path / "b.png")
    assert load_image(tmp_path / "a.png").tolist() == [[[200, 10, 30]] * 2]
    assert load_image(tmp_path / "b.png").tolist() == [[[90, 90, 90]] * 2]


@pytest.mark.filterwarnings("error")
def test_palette_with_transparency(tmp_path: Path):
    image = Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 200, 10, 30])
    image.save(tmp_path / "a.png", transparency=b"\x00\x07")
    assert load_image(tmp_path / "a.png").tolist() == [[[200, 10, 30]] * 2]


def test_one_bit_and_one_pixel(tmp_path: Path):
    Image.new("1", (1, 1), 1).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png").tolist() == [[[255, 255, 255]]]


def test_result_is_writable_and_its_own(tmp_path: Path):
    save(tmp_path / "a.png", Image.new("RGB", (3, 2)))
    load_image(tmp_path / "a.png")[:] = 9
    assert load_image(tmp_path / "a.png", (2, 3)).max() == 0


def test_missing_empty_and_other_files(tmp_path: Path):
    empty, text = tmp_path / "empty.jpg", tmp_path / "text.jpg"
    empty.touch()
    text.write_text("no picture at all")
    with pytest.raises(UserError, match=r"away\.jpg: no such picture; check the path and the data folder"):
        load_image(tmp_path / "away.jpg")
    with pytest.raises(
        UserError, match=r"empty\.jpg: the file is empty \(0 bytes\), expected a picture; replace"
    ):
        load_image(empty)
    with pytest.raises(
        UserError, match=r"text\.jpg: no picture format begins like this file; replace the file"
    ):
        load_image(text)
    with pytest.raises(UserError, match="cannot be read as a picture"):
        load_image(tmp_path)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_truncated_pictures_are_refused(tmp_path: Path, suffix: str):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    assert load_image(path).shape == (40, 50, 3)
    for share in (0.02, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match=rf"a\.{suffix}: "):
            load_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str):
    path = save(tmp_path / f"a.{suffix}", Image.new("L", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match=rf"a\.{suffix}: .*decompression bomb"):
        load_image(path)


@pytest.fixture(scope="module")
def odd(real_data: Path) -> Path:
    return real_data / "odd_images"


@pytest.fixture(scope="module")
def manifest(odd: Path) -> dict[str, dict[str, Any]]:
    return {entry["file"]: entry for entry in json.loads((odd / "manifest.json").read_text())["images"]}


def is_broken(entry: dict[str, Any]) -> bool:
    return "pil_open" in entry or entry["pil_load"] != "ok"


def test_odd_pictures_are_read_or_refused_with_their_path(odd: Path, manifest: dict[str, dict[str, Any]]):
    assert sum(map(is_broken, manifest.values())) == 4
    for name, entry in manifest.items():
        if is_broken(entry):
            with pytest.raises(UserError) as error:
                load_image(odd / name)
            assert str(error.value).startswith(f"{odd / name}: "), name
            continue
        width, height = entry["size"]
        turned = entry.get("exif_orientation", 1) in (5, 6, 7, 8)
        pixels = load_image(odd / name)
        assert pixels.shape == ((width, height, 3) if turned else (height, width, 3)), name
        assert pixels.dtype == np.uint8 and pixels.flags.writeable


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")  # of torchvision, by torchvision
def test_odd_pictures_equal_another_decoder(odd: Path, manifest: dict[str, dict[str, Any]]):
    # torchvision reads neither BMP nor TIFF, nor EXIF data that ImageMagick wrote into a PNG.
    special = {"exif_imagemagick_orientation.png": UPRIGHT[3]}
    compared = 0
    for name, entry in manifest.items():
        if is_broken(entry) or entry["format"] in ("BMP", "TIFF"):
            continue
        reference = decode_image(str(odd / name), mode="RGB", apply_exif_orientation=True)
        expected = special.get(name, UPRIGHT[1])(reference.permute(1, 2, 0).numpy()).astype(int)
        pixels = load_image(odd / name)
        assert pixels.shape == expected.shape, name
        assert np.abs(pixels - expected).max() <= 3, name
        compared += 1
    assert compared == 25


def test_odd_pictures_without_another_decoder(odd: Path):
    hopper = load_image(odd / "hopper.jpg").astype(int)
    assert np.abs(load_image(odd / "hopper.bmp") - hopper).mean() < 6
    for orientation in (2, 4, 6, 8):
        path = odd / f"hopper_orientation_{orientation}.jpg"
        assert np.abs(load_image(path) - hopper).mean() < 12, path
        assert np.abs(np.asarray(Image.open(path).convert("RGB")) - hopper).mean() > 30, path
    stored = np.asarray(Image.open(odd / "16bit.cropped.tif")).astype(float)
    assert np.abs(load_image(odd / "16bit.cropped.tif")[..., 0] - stored / 257).max() <= 0.5


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
    tmp_path: Path, mode: str, progressive: bool, subsampling: int
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
def test_what_lies_below_a_crop_does_not_change_it(tmp_path: Path, subsampling: int, options: dict[str, Any]):
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph(200, 120)).save(path, subsampling=subsampling, **options)
    whole = load_image(path)
    for bottom in range(8, 201, 3):
        part = crop(path, (0, bottom - 8, 8, bottom), 8)
        assert np.array_equal(part, whole[bottom - 8 : bottom, :8]), bottom


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_what_lies_below_does_not_change_a_shrunk_picture(tmp_path: Path, shrink: int, subsampling: int):
    path = tmp_path / "a.jpg"
    Image.fromarray(photograph(400, 120)).save(path, subsampling=subsampling)
    content = path.read_bytes()
    whole = simplejpeg.decode_jpeg(
        content, min_height=400 // shrink, min_width=120 // shrink, min_factor=shrink
    )
    for bottom in range(shrink, 401, shrink):
        pixels = decode_plain(content, (min(bottom + MARGIN, 400), 120), shrink)
        assert np.array_equal(pixels[: bottom // shrink], whole[: bottom // shrink]), bottom


def test_rows_below_a_crop_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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


def photograph(height: int, width: int) -> np.ndarray:
    """Smooth shades with some texture."""
    rows, columns = np.mgrid[:height, :width]
    shades = [128 + 100 * np.sin(rows / a) * np.cos(columns / b) for a, b in ((31, 17), (13, 29), (23, 23))]
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return np.clip(np.stack(shades, axis=2) + noise, 0, 255).astype(np.uint8)


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


def test_boxes_are_rounded_to_whole_pixels(tmp_path: Path):
    # 16.4 … 48.6 is 32.2 wide: 32 pixels from 16 on. 7.6 … 39.7 is 32.1 high: 32 from 8 on.
    save(tmp_path / "a.png", Image.fromarray(photograph(60, 80)))
    pixels = load_image(tmp_path / "a.png")
    assert np.array_equal(crop(tmp_path / "a.png", (16.4, 7.6, 48.6, 39.7), 32), pixels[8:40, 16:48])


def test_boxes_end_at_the_border_and_have_a_pixel(tmp_path: Path):
    pixels = photograph(5, 7)
    save(tmp_path / "a.png", Image.fromarray(pixels))
    # 6.4 … 7 rounds to one pixel at 6; 4.9 … 5 to one at 4, not at 5 outside.
    assert (crop(tmp_path / "a.png", (6.4, 4.9, 7, 5), 3) == pixels[4, 6]).all()
    assert np.array_equal(crop(tmp_path / "a.png", (0.2, 0, 5.4, 5), 5), pixels[:, :5])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_of_a_turned_jpeg_is_that_of_the_upright_picture(tmp_path: Path, orientation: int):
    path = save(tmp_path / "a.jpg", Image.fromarray(photograph(120, 160)), orientation)
    asked = []
    decode_crop(path.read_bytes(), "a", lambda *size: asked.append(size) or (0, 0, 9, 9), 8)
    assert asked == [(160, 120) if orientation >= 5 else (120, 160)]
    box = (10, 30, 110, 100)
    assert np.abs(crop(path, box, 48) - reference_crop(path, box, 48)).max() <= 1


def test_a_broken_jpeg_is_chosen_from_once_and_refused(tmp_path: Path):
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
