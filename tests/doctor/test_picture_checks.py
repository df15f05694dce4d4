"""What the doctor says of picture files, of those that look alike, and of sets that share them."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from doctor.picture_checks import inspect
from doctor.survey import SurveyedPicture

ODD = {
    "16bit.cropped.tif": {"deep_picture", "grey_picture"},
    "apng_gray_alpha.png": {"grey_picture", "alpha_picture", "several_frames"},
    "broken.png": {"unreadable_picture"},
    "derived_cut_half.jpg": {"unreadable_picture"},
    "derived_empty.jpg": {"empty_picture"},
    "derived_png_named.JPEG": {"mislabelled_picture"},
    "exif_portrait_6.jpg": {"exif_turned"},
    "hopper.jpg": set(),
    "hopper_gray.jpg": {"grey_picture"},
    "hopper_orientation_8.jpg": {"exif_turned"},
    "p_trns_single.png": {"palette_picture", "alpha_picture"},
    "pil123rgba.png": {"alpha_picture"},
    "transparent.webp": {"alpha_picture"},
    "truncated_image.png": {"unreadable_picture", "damaged_exif"},
}


def named(path: Path, size: tuple[int, int] | None = None, *, quick: bool = False) -> set[str]:
    return {
        finding.check for finding in inspect(SurveyedPicture(path.name, path, size), quick=quick).findings
    }


def test_odd_pictures_are_named(real_data: Path):
    folder = real_data / "odd_images"
    assert {name: named(folder / name) for name in ODD} == ODD


def test_quick_reads_headers_only(real_data: Path):
    folder = real_data / "odd_images"
    assert named(folder / "derived_cut_half.jpg", quick=True) == set()
    assert named(folder / "derived_empty.jpg", quick=True) == {"empty_picture"}
    facts = inspect(SurveyedPicture("", folder / "exif_portrait_6.jpg", None), quick=True)
    assert (facts.size, facts.stored, facts.look) == ((1800, 1200), (1200, 1800), None)


def test_missing(tmp_path: Path):
    assert named(tmp_path / "none.jpg") == {"missing_picture"}


def test_modes_without_real_data(tmp_path: Path):
    Image.new("CMYK", (20, 20), (9, 8, 7, 6)).save(tmp_path / "a.jpg")
    assert named(tmp_path / "a.jpg") == {"cmyk_picture"}
    row = b"\0" + bytes(6 * 20)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 20, 20, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * 20)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert named(tmp_path / "deep.png") == {"deep_picture"}


def test_long_and_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Callable):
    draw(tmp_path / "long.png", 1, (220, 20))
    assert named(tmp_path / "long.png") == {"long_picture"}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    assert named(tmp_path / "long.png") == {"huge_picture"}


# Stated (height, width) of a file of 40 rows and 60 columns with this EXIF orientation.
@pytest.mark.parametrize(
    ("orientation", "stated", "expected"),
    [
        (1, (40, 60), set()),
        (1, (41, 60), {"wrong_size"}),
        (6, (60, 40), {"exif_turned"}),
        (6, (40, 60), {"exif_size"}),
        (6, (40, 61), {"wrong_size"}),
        (3, (40, 60), {"exif_ambiguous"}),
    ],
)
@pytest.mark.parametrize("quick", [False, True])
def test_sizes(tmp_path: Path, orientation: int, stated: tuple, expected: set, quick: bool, draw: Callable):
    exif = Image.Exif()
    exif[0x0112] = orientation
    draw(tmp_path / "a.jpg", 1, (60, 40), exif=exif)
    assert named(tmp_path / "a.jpg", stated, quick=quick) == expected
