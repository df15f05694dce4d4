"""What the doctor says of picture files, of those that look alike, and of sets that share them."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doctor.picture_checks import inspect, look_of
from doctor.survey import SurveyedPicture
from tests.doctor.conftest import draw, whole_coco, write

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


def test_long_and_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    draw(tmp_path / "long.png", 1, (220, 20))
    assert named(tmp_path / "long.png") == {"long_picture"}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.warns(Image.DecompressionBombWarning):
        assert "huge_picture" in named(tmp_path / "long.png")


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
def test_sizes(tmp_path: Path, orientation: int, stated: tuple, expected: set, quick: bool):
    exif = Image.Exif()
    exif[0x0112] = orientation
    draw(tmp_path / "a.jpg", 1, (60, 40), exif=exif)
    assert named(tmp_path / "a.jpg", stated, quick=quick) == expected


def test_looks_survive_saving_again(real_data: Path):
    paths = sorted((real_data / "coco" / "val2017").glob("*.jpg"))[:12]
    looks, smaller = [], []
    for path in paths:
        image = Image.open(path).convert("RGB")
        half = image.resize((image.width // 2, image.height // 2))
        first, second = look_of(np.asarray(image)), look_of(np.asarray(half))
        assert first is not None and second is not None
        looks.append(np.unpackbits(first))
        smaller.append(np.unpackbits(second))
    distances = np.array([[(a != b).sum() for b in smaller] for a in looks])
    apart = distances[~np.eye(len(paths), dtype=bool)]
    assert distances.diagonal().max() <= 7 < 50 < apart.min()


def test_a_flat_picture_looks_like_nothing():
    assert look_of(np.full((30, 30, 3), 90, dtype=np.uint8)) is None


def test_twins_in_a_set(coco: Path, diagnosis: Callable):
    pictures = coco.parent / "pictures"
    (pictures / "2.png").write_bytes((pictures / "1.png").read_bytes())
    image = np.array(Image.open(pictures / "1.png"))
    image[0, 0] ^= 1
    Image.fromarray(image).save(pictures / "3.png")
    found = {f.check: f for f in diagnosis(f"coco:{coco}:{pictures}")}
    assert found["duplicate_picture"].where == "2.png"
    assert found["duplicate_picture"].detail == "the same bytes as 1.png"
    assert found["near_duplicate_picture"].where == "3.png" and "leak" not in found
    quick = {f.check for f in diagnosis(f"coco:{coco}:{pictures}", quick=True)}
    assert "duplicate_picture" in quick and "near_duplicate_picture" not in quick


def test_leaks_between_sets(coco: Path, tmp_path: Path, diagnosis: Callable):
    content = whole_coco()
    content["images"][1]["file_name"] = "4.png"
    content["images"][2]["file_name"] = "5.png"
    first = np.array(Image.open(tmp_path / "pictures" / "2.png"))
    first[5, 5] ^= 1
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "1.png").write_bytes((tmp_path / "pictures" / "1.png").read_bytes())
    Image.fromarray(first).save(tmp_path / "others" / "4.png")
    draw(tmp_path / "others" / "5.png", 50)
    other = write(tmp_path / "b.json", content)
    findings = diagnosis(f"coco:{coco}:{tmp_path / 'pictures'}", f"coco:{other}:{tmp_path / 'others'}")
    leaks = {f.check: (f.where, f.severity) for f in findings if "leak" in f.check}
    assert leaks == {"leak": ("1.png", "error"), "near_leak": ("4.png", "warning")}


def test_class_folders(tmp_path: Path, diagnosis: Callable):
    for split, name, seed in (("train", "cat", 1), ("train", "dog", 2), ("val", "cat", 3), ("val", "dog", 2)):
        draw(tmp_path / split / name / "a.png", seed)
    (tmp_path / "val" / "owl").mkdir()
    (tmp_path / "val" / "dog" / "b.png").write_bytes(b"no picture")
    found = {f.check: f for f in diagnosis(f"folder:{tmp_path}")}
    assert found["leak"].where == "dog/a.png" and found["unreadable_picture"].where == "dog/b.png"
    assert "owl" in found["different_classes"].detail and "owl" in found["empty_class_folder"].where
    assert "no_objects" not in found


def test_no_class_folders(tmp_path: Path, diagnosis: Callable):
    draw(tmp_path / "a.png", 1)
    assert {f.check for f in diagnosis(f"folder:{tmp_path}")} >= {"no_class_folders", "no_pictures"}
