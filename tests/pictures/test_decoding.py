import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.io import decode_image

from foundation.errors import UserError
from pictures.decoding import image_size, load_image

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
        UserError,
        match=r"text\.jpg: no picture format begins like this file, expected JPEG, .*; replace the file",
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
    with pytest.raises(
        UserError, match=rf"a\.{suffix}: it has 10,000 pixels, more than the limit of 1,000; .*MAX_"
    ):
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
