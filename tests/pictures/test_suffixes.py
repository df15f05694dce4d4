from pathlib import Path

import pytest
from PIL import Image

from pictures.suffixes import PICTURE_SUFFIXES, SUFFIXES_OF_FORMAT, is_picture, is_video


def test_names_of_pictures_and_videos():
    names = ["a.jpg", "b.JPEG", "c.d.Png", "e.pgm", "f.mp4", "g.MOV", "jpg", ".png", "h.jpg.txt", "i.gif"]
    assert [name for name in names if is_picture(Path(name))] == ["a.jpg", "b.JPEG", "c.d.Png", "e.pgm"]
    assert [name for name in names if is_video(Path(name))] == ["f.mp4", "g.MOV"]


@pytest.mark.parametrize("format", sorted(SUFFIXES_OF_FORMAT.keys() - {"MPO"}))
def test_pillow_knows_each_format_by_these_suffixes(format: str):
    Image.init()
    assert {Image.EXTENSION[suffix] for suffix in SUFFIXES_OF_FORMAT[format]} == {format}
    assert set(PICTURE_SUFFIXES) >= SUFFIXES_OF_FORMAT[format]
