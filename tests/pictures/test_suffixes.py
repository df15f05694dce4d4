from pathlib import Path

import pytest
from PIL import Image

from pictures.suffixes import (
    PICTURE_SUFFIXES,
    SUFFIXES_OF_FORMAT,
    count_others,
    is_hidden,
    is_picture,
    is_video,
)


def test_names_of_pictures_and_videos():
    names = ["a.jpg", "b.JPEG", "c.d.Png", "e.pgm", "f.mp4", "g.MOV", "jpg", ".png", "h.jpg.txt", "i.gif"]
    assert [name for name in names if is_picture(Path(name))] == ["a.jpg", "b.JPEG", "c.d.Png", "e.pgm"]
    assert [name for name in names if is_video(Path(name))] == ["f.mp4", "g.MOV"]


@pytest.mark.parametrize("format", sorted(SUFFIXES_OF_FORMAT.keys() - {"MPO"}))
def test_pillow_knows_each_format_by_these_suffixes(format: str):
    Image.init()
    assert {Image.EXTENSION[suffix] for suffix in SUFFIXES_OF_FORMAT[format]} == {format}
    assert set(PICTURE_SUFFIXES) >= SUFFIXES_OF_FORMAT[format]


def test_droppings_are_no_pictures():
    names = ["._a.jpg", ".a.jpg", ".ipynb_checkpoints", "__MACOSX", "@eaDir", "a.jpg", "_a.jpg", "MACOSX"]
    assert [name for name in names if not is_hidden(Path("x") / name)] == ["a.jpg", "_a.jpg", "MACOSX"]
    assert [name for name in names if is_picture(Path("x") / name)] == ["a.jpg", "_a.jpg"]


def test_what_is_left_out_is_counted(tmp_path: Path):
    names = ["a.jpg", "b.gif", "c.GIF", "d.txt", "e", "._f.gif", ".g"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "folder.gif").mkdir()
    text = count_others(sorted(tmp_path.iterdir()))
    assert text == "4 files left out, no pictures by their suffix: 2 .gif, 1 .txt, 1 without"
    assert count_others([tmp_path / "a.jpg", tmp_path / "._f.gif"]) == ""
    for number in range(7):
        (tmp_path / f"x.{number}").touch()
    assert count_others(sorted(tmp_path.iterdir())).endswith(", …")
