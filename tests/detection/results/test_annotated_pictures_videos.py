"""Videos among the pictures: drawn, and listed by frame."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detection.improve.improve_options import ONE_LOOK, ImproveOptions
from detection.results.annotated_pictures import predict_pictures
from foundation.errors import UserError
from pictures.video import open_video, write_video

pytest.importorskip("av")

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]


def frames() -> list[np.ndarray]:
    return [np.full((40, 60, 3), colour, dtype=np.uint8) for colour in COLOURS]


def detect(pictures: list[Path], weights: Path, out: Path, limit: int | None = None) -> None:
    always = ["roi.score_threshold=0"]  # something is found in every picture
    predict_pictures(pictures, weights, out, threshold=0.0, limit=limit, overwrite=False, overrides=always)


def test_videos_beside_pictures(detector_weights: Path, tmp_path: Path):
    write_video(tmp_path / "clip.mp4", Fraction(10), iter(frames()))
    Image.fromarray(frames()[0]).save(tmp_path / "z.png")
    out = tmp_path / "out"
    detect([tmp_path / "clip.mp4", tmp_path / "z.png"], detector_weights, out)
    content = json.loads((out / "predictions.json").read_text())
    named = [(image["id"], image["file_name"], image.get("frame")) for image in content["images"]]
    # The files have the first numbers, frames those after.
    assert named == [(3 + n, "clip.mp4", n) for n in range(4)] + [(2, "z.png", None)]
    assert all((image["height"], image["width"]) == (40, 60) for image in content["images"])
    assert {entry["image_id"] for entry in content["annotations"]} == {2, 3, 4, 5, 6}
    assert (out / "z.png.png").is_file() and sorted(path.name for path in out.iterdir())[0] == "clip.mp4.mp4"
    with open_video(out / "clip.mp4.mp4") as (rate, found):
        drawn = list(found)
    assert rate == 10 and len(drawn) == 4
    assert all(abs(one.astype(int) - colour).mean() > 3 for one, colour in zip(drawn, COLOURS, strict=True))


def test_a_limit_holds_for_each_video(detector_weights: Path, tmp_path: Path):
    for name in "ab":
        write_video(tmp_path / f"{name}.mp4", Fraction(10), iter(frames()))
    detect([tmp_path / "a.mp4", tmp_path / "b.mp4"], detector_weights, tmp_path / "out", limit=2)
    images = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    assert [(image["id"], image["frame"]) for image in images] == [(3, 0), (4, 1), (5, 0), (6, 1)]


def test_no_video_at_all_and_a_cut_one(detector_weights: Path, tmp_path: Path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    write_video(tmp_path / "good.mp4", Fraction(10), iter(frames()))
    with pytest.raises(UserError, match="1 picture could not be read.*\n.*bad.mp4: not a readable video"):
        detect([tmp_path / "bad.mp4", tmp_path / "good.mp4"], detector_weights, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.mp4.mp4", "predictions.json"]


def test_the_pictures_of_videos_are_tiled_too(detector_weights: Path, tmp_path: Path):
    write_video(tmp_path / "clip.mp4", Fraction(10), iter(frames()))
    always = ["roi.score_threshold=0"]
    found = []
    for name, improve in (("plain", ONE_LOOK), ("tiled", ImproveOptions(tiles=32, tta="flip", merge="wbf"))):
        predict_pictures(
            tmp_path / "clip.mp4",
            detector_weights,
            tmp_path / name,
            threshold=0.0,
            limit=2,
            overwrite=False,
            overrides=always,
            improve=improve,
        )
        found.append(json.loads((tmp_path / name / "predictions.json").read_text()))
    plain, tiled = found
    assert plain["images"] == tiled["images"] and len(tiled["images"]) == 2
    # Six tiles of 32 and the whole, of which each may report as many objects as the plain picture.
    assert len(tiled["annotations"]) > len(plain["annotations"]) > 0
