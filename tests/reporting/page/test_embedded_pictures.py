"""Pictures inside the page: small enough, counted, and a broken one is said."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foundation.errors import UserError
from reporting.page.embedded_pictures import LONGEST, MOST, embed, gallery
from reporting.page.page_parts import Gallery, Note, Picture


def opened(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture.source.partition(",")[2])))


def noise(file: Path, width: int, height: int) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)).save(file)
    return file


def test_photographs_become_small_jpegs(tmp_path: Path):
    picture = embed(noise(tmp_path / "a.png", 2 * LONGEST, LONGEST))
    assert (picture.width, picture.height, picture.caption) == (LONGEST, LONGEST // 2, "a")
    assert picture.source.startswith("data:image/jpeg;base64,") and opened(picture).size == (
        LONGEST,
        LONGEST // 2,
    )


def test_plots_stay_as_they_are_unless_they_are_large(tmp_path: Path):
    Image.new("RGB", (1300, 900), "white").save(tmp_path / "plot.png")
    plot = embed(tmp_path / "plot.png", plot=True, caption="a plot")
    assert plot.source.startswith("data:image/png;base64,") and opened(plot).size == (1300, 900)
    assert plot.caption == "a plot"
    large = embed(noise(tmp_path / "large.png", 3000, 300), plot=True)
    assert large.source.startswith("data:image/jpeg") and large.width == 2 * LONGEST


def test_many_are_counted(tmp_path: Path):
    files = [noise(tmp_path / f"{number:02d}.png", 4, 4) for number in range(MOST + 2)]
    (first,) = gallery(files)
    assert (
        isinstance(first, Gallery)
        and len(first.pictures) == MOST
        and first.note == f"The first {MOST} of {MOST + 2}."
    )
    (last,) = gallery(files, last=True)
    assert isinstance(last, Gallery) and last.pictures[-1].caption == f"{MOST + 1}"


def test_a_damaged_one_is_said_and_the_others_shown(tmp_path: Path):
    noise(tmp_path / "good.png", 4, 4)
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:40])
    shown, note = gallery([tmp_path / "good.png", tmp_path / "bad.png"])
    assert isinstance(shown, Gallery) and isinstance(note, Note)
    assert "bad.png: " in note.text and note.warning
    with pytest.raises(UserError, match=r"none\.png: no such file; remove it, or make the pictures again"):
        embed(tmp_path / "none.png")
