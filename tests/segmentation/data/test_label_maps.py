import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foundation.errors import UserError
from segmentation.data.label_maps import (
    check_classes,
    classes_of,
    read_classes,
    read_label_map,
    write_label_map,
)
from segmentation.types import IGNORED

VALUES = np.array([[0, 1, 2], [20, 254, 255]], dtype=np.uint8)


def grey_png(path: Path, depth: int, rows: list[bytes], width: int) -> Path:
    """A grey PNG of so many bits a pixel, written byte by byte: Pillow only writes 1 and 8."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, 0, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b""))
    return path


def test_the_index_counts_whatever_the_palette(tmp_path: Path):
    image = Image.fromarray(VALUES)
    image.save(tmp_path / "grey.png")
    image.putpalette([7] * 768)  # every index has one colour
    image.save(tmp_path / "palette.png", transparency=0)
    assert Image.open(tmp_path / "palette.png").mode == "P"
    for name in ("grey", "palette"):
        labels = read_label_map(tmp_path / f"{name}.png")
        assert labels.dtype == np.uint8 and np.array_equal(labels, VALUES)


def test_few_bits_a_pixel_are_indices_too(tmp_path: Path):
    assert read_label_map(grey_png(tmp_path / "4.png", 4, [b"\x01\x2f"], 4)).tolist() == [[0, 1, 2, 15]]
    assert read_label_map(grey_png(tmp_path / "2.png", 2, [b"\x1b"], 4)).tolist() == [[0, 1, 2, 3]]
    assert read_label_map(grey_png(tmp_path / "1.png", 1, [b"\xa0"], 4)).tolist() == [[1, 0, 1, 0]]


def test_what_is_written_is_read(tmp_path: Path):
    write_label_map(tmp_path / "new" / "a.png", VALUES)
    assert np.array_equal(read_label_map(tmp_path / "new" / "a.png"), VALUES)
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.convert("RGB").getpixel((0, 0)) == (0, 0, 0)
        assert image.convert("RGB").getpixel((2, 1)) == (128, 128, 128)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            np.zeros((2, 2, 3), np.uint8),
            r"stores colours \(mode RGB\); expected a PNG .* docs/segmentation.md",
        ),
        (np.zeros((2, 2, 4), np.uint8), r"stores colours \(mode RGBA\)"),
        (np.zeros((2, 2), np.uint16), r"stores 16 bits a pixel \(mode I;16\); .* write it again as uint8"),
    ],
)
def test_other_pixels_are_refused(tmp_path: Path, pixels: np.ndarray, message: str):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=message):
        read_label_map(tmp_path / "a.png")


def test_other_files_are_refused(tmp_path: Path):
    Image.fromarray(VALUES).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg: is no PNG; .* may change what a pixel holds"):
        read_label_map(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"b\.png: no such file; expected a PNG"):
        read_label_map(tmp_path / "b.png")
    Image.fromarray(np.arange(10000, dtype=np.uint32).astype(np.uint8).reshape(100, 100)).save(
        tmp_path / "c.png"
    )
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:60])
    with pytest.raises(UserError, match=r"c\.png: .*; expected a PNG"):
        read_label_map(tmp_path / "c.png")


def test_damaged_files_give_clear_errors(tmp_path: Path):
    rng = np.random.default_rng(0)
    write_label_map(tmp_path / "a.png", rng.integers(0, 20, (30, 40)).astype(np.uint8))
    sound = (tmp_path / "a.png").read_bytes()
    refused = 0
    for _ in range(200):
        damaged = bytearray(sound)
        damaged[int(rng.integers(len(sound)))] ^= int(rng.integers(1, 256))
        (tmp_path / "a.png").write_bytes(damaged[: int(rng.integers(1, 2 * len(sound)))])
        try:
            assert read_label_map(tmp_path / "a.png").ndim == 2
        except UserError as error:
            assert "a.png: " in str(error)
            refused += 1
    assert refused > 100


def test_classes():
    labels = np.array([[0, 1, 2, 255]], dtype=np.uint8)
    assert classes_of(labels, 3, 0, Path("a")).tolist() == [[0, 1, 2, IGNORED]]
    assert classes_of(labels, 2, 1, Path("a")).tolist() == [[IGNORED, 0, 1, IGNORED]]
    message = r"a: holds the index 2 at row 0, column 2, expected 0 to 1, the 2 classes of the set, or 255"
    with pytest.raises(UserError, match=message):
        classes_of(labels, 2, 0, Path("a"))
    with pytest.raises(UserError, match="the index 254"):
        classes_of(np.full((1, 1), 254, np.uint8), 254, 0, Path("a"))


def test_names(tmp_path: Path):
    (tmp_path / "classes.txt").write_text("ground\n\n a thing \n")
    assert read_classes(tmp_path / "classes.txt") == ["ground", "a thing"]
    for names in ([], ["a", "a"], list(map(str, range(255)))):
        with pytest.raises(
            UserError, match=f"list: holds {len(names)} names .* expected 1 to 254, each once"
        ):
            check_classes(names, "list")
