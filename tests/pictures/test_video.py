"""Video files written and read back."""

import builtins
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundation.errors import UserError
from pictures.opening import LIMIT
from pictures.video import open_video, write_video

pytest.importorskip("av")

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]


def frames(height: int = 40, width: int = 60) -> list[np.ndarray]:
    return [np.full((height, width, 3), colour, dtype=np.uint8) for colour in COLOURS]


def read(path: Path) -> tuple[Fraction, list[np.ndarray]]:
    with open_video(path) as (rate, found):
        return rate, list(found)


@pytest.mark.parametrize("size", [(40, 60), (41, 61)])
def test_frames_come_back(tmp_path: Path, size: tuple[int, int]):
    write_video(tmp_path / "a.mp4", Fraction(10), iter(frames(*size)))
    rate, found = read(tmp_path / "a.mp4")
    assert rate == 10 and len(found) == 4
    for frame, colour in zip(found, COLOURS, strict=True):
        assert frame.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
        assert abs(frame.astype(int) - colour).mean() < 8  # compressed


def test_no_video_at_all_and_nothing_to_write(tmp_path: Path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="bad.mp4: not a readable video"), open_video(tmp_path / "bad.mp4"):
        pass
    with pytest.raises(UserError, match="nothing to write"):
        write_video(tmp_path / "empty.mp4", Fraction(10), iter([]))
    assert not (tmp_path / "empty.mp4").exists()


def test_a_video_that_was_cut_off_is_damaged(tmp_path: Path):
    write_video(tmp_path / "a.mp4", Fraction(10), iter(frames(160, 240) * 8))
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 3])
    with pytest.raises(UserError, match="cut.mp4: (damaged|not a readable video)"):
        read(tmp_path / "cut.mp4")


def test_without_the_extra_the_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    load = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "av":
            raise ImportError("No module named 'av'")
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with (
        pytest.raises(UserError, match=r"pip install 'residual-backbones\[video\]'"),
        open_video(tmp_path / "a"),
    ):
        pass


def test_a_playlist_reads_no_other_file(tmp_path: Path):
    write_video(tmp_path / "a.mp4", Fraction(10), iter(frames()))
    playlist = "ffconcat version 1.0\nfile a.mp4\n"
    (tmp_path / "b.mp4").write_text(playlist)
    with pytest.raises(UserError, match="b.mp4: not a readable video"):
        read(tmp_path / "b.mp4")
    (tmp_path / "c.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(UserError, match="c.mp4: not a readable video"):
        read(tmp_path / "c.mp4")


def test_frames_have_no_more_pixels_than_pictures_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_video(tmp_path / "a.mp4", Fraction(10), iter(frames()))
    monkeypatch.setenv(LIMIT, "2399")
    with pytest.raises(UserError, match=rf"a.mp4: 60x40 are 2,400 pixels, more than .* {LIMIT}=2400"):
        read(tmp_path / "a.mp4")
