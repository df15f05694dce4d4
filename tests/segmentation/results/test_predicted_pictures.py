"""Pictures of one's own given label maps, with what is written where."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segmentation
from foundation.errors import UserError
from segmentation.data.label_maps import read_label_map
from segmentation.results.predicted_pictures import predict_label_maps


@pytest.fixture
def pictures(picture: np.ndarray, tmp_path: Path) -> Path:
    """a.png, a.jpg and below/c.png, with a broken b.jpg among them."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for name in ("a.png", "a.jpg", "below/c.png"):
        Image.fromarray(picture).save(folder / name)
    (folder / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return folder


def predict(pictures: Path, weights: Path, out: Path, **options: Any) -> None:
    predict_label_maps([pictures], [weights], out, **{"limit": None, "overwrite": False} | options)


def test_label_maps_and_drawings(
    pictures: Path, picture: np.ndarray, segmenter_weights: Path, tmp_path: Path
):
    out = tmp_path / "out"
    with pytest.raises(UserError) as refused:
        predict(pictures, segmenter_weights, out)
    text = str(refused.value)
    assert text.startswith("1 picture could not be read; the others are done:\n  ") and "b.jpg" in text
    names = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    written = [f"{kind}/{name}.png" for kind in ("masks", "drawn") for name in ("a", "a~2", "below/c")]
    assert names == {"classes.txt", *written}
    assert (out / "classes.txt").read_text() == "ground\ncat\ndog\n"
    expected = segmentation.load(segmenter_weights, device="cpu")(picture)
    assert np.array_equal(read_label_map(out / "masks" / "below" / "c.png"), expected.labels)
    assert np.array_equal(np.array(Image.open(out / "drawn" / "below" / "c.png")), np.array(expected.draw()))


def test_a_limit_and_a_folder_in_use(pictures: Path, segmenter_weights: Path, tmp_path: Path):
    predict(pictures, segmenter_weights, tmp_path / "out", limit=1)
    assert [file.name for file in (tmp_path / "out" / "masks").iterdir()] == ["a.png"]
    with pytest.raises(UserError, match="is not empty; choose another --out, or pass --overwrite"):
        predict(pictures, segmenter_weights, tmp_path / "out")


def test_a_video_is_drawn(picture: np.ndarray, segmenter_weights: Path, tmp_path: Path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.height, stream.width = picture.shape[:2]
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    predict(tmp_path / "film.mp4", segmenter_weights, tmp_path / "out", limit=2)
    assert not (tmp_path / "out" / "masks").exists()
    with av.open(str(tmp_path / "out" / "drawn" / "film.mp4")) as container:
        sizes = [(frame.height, frame.width) for frame in container.decode(video=0)]
    assert sizes == [(40, 60)] * 2


def test_the_command_line(
    pictures: Path, segmenter_weights: Path, root: Path, tmp_path: Path, monkeypatch, capsys
):
    spec = importlib.util.spec_from_file_location("tool_predict", root / "tools" / "predict.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    command = ["predict", str(pictures / "a.png"), "--weights", str(segmenter_weights), "--out"]
    monkeypatch.setattr("sys.argv", [*command, str(tmp_path / "out"), "testing.flip=true"])
    module.run(module.main, module.parser())
    assert (tmp_path / "out" / "masks" / "a.png").is_file()
    for wrong, message in (
        (["--threshold", "0.5"], "--threshold is for detectors"),
        (["--explain", "2"], "--explain is for detectors"),
        (["--tiles", "800"], "give testing.window=SIDE"),
        (["--tta", "flip"], "give testing.flip=true"),
        (["--weights", str(segmenter_weights)], "names 2 files"),
    ):
        monkeypatch.setattr("sys.argv", [*command, str(tmp_path / "none"), *wrong])
        with pytest.raises(SystemExit) as left:
            module.run(module.main, module.parser())
        assert left.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
