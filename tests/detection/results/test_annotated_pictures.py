"""Pictures of one's own predicted, with what is written where."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from detection.metrics import coco_ap
from detection.results.annotated_pictures import predict_pictures
from detection.results.evaluation import score_predictions, score_weights
from foundation.errors import UserError
from pictures import decoding as images


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """a.png and below/c.jpg, grey, with a broken b.jpg between them."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for name, height, width in (("a.png", 40, 60), ("below/c.jpg", 50, 30)):
        Image.fromarray(np.full((height, width, 3), 128, dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def with_broken(pictures: Path) -> Path:
    (pictures / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return pictures


def detect(pictures: Path, weights: Path, out: Path, **options: Any) -> None:
    predict_pictures(
        pictures, weights, out, **{"threshold": 0.5, "limit": None, "overwrite": False} | options
    )


def changed(drawn: Path, original: Path) -> bool:
    """Whether anything was drawn onto the picture."""
    both = (Image.open(path).convert("RGB") for path in (drawn, original))
    return ImageChops.difference(*both).getbbox() is not None


def test_a_threshold_is_read_before_the_weights(pictures: Path, tmp_path: Path):
    for threshold, message in (("none.json", "none.json"), ("1.5", "from 0 to 1, got 1.5")):
        with pytest.raises(UserError, match=message):
            detect(pictures, tmp_path / "none.safetensors", tmp_path / "out", threshold=threshold)


def test_pictures_are_drawn_and_listed(pictures: Path, detector_weights: Path, tmp_path: Path):
    # The weights say run.device=cuda; where they were trained does not matter here.
    out = tmp_path / "out"
    detect(pictures, detector_weights, out, threshold=0.0)
    names = ["a.png", "below/c.jpg"]
    assert [Image.open(out / f"{name}.png").size for name in names] == [(60, 40), (30, 50)]
    content = json.loads((out / "predictions.json").read_text())
    sizes = [(image["file_name"], image["height"], image["width"]) for image in content["images"]]
    assert sizes == [("a.png", 40, 60), ("below/c.jpg", 50, 30)]
    assert content["categories"] == [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
    assert {entry["category_id"] for entry in content["annotations"]} <= {1, 18}
    entries = content["annotations"]
    assert {entry["image_id"] for entry in entries} == {image["id"] for image in content["images"]}
    assert [entry["id"] for entry in entries] == list(range(1, len(entries) + 1))
    for entry in entries:
        _, _, width, height = entry["bbox"]
        assert entry["area"] == pytest.approx(width * height) and 0 < entry["score"] <= 1
    coco_ap.evaluate({**content, "annotations": []}, entries)  # it is what COCO's tools read


def test_the_threshold_decides_what_is_drawn(pictures: Path, detector_weights: Path, tmp_path: Path):
    # Three classes at random: every score is near 1/3.
    detect(pictures, detector_weights, tmp_path / "low", threshold=0.2)
    detect(pictures, detector_weights, tmp_path / "high", threshold=0.9)
    assert changed(tmp_path / "low" / "a.png.png", pictures / "a.png")
    assert not changed(tmp_path / "high" / "a.png.png", pictures / "a.png")
    low, high = ((tmp_path / name / "predictions.json").read_text() for name in ("low", "high"))
    assert low == high


def test_a_file_has_the_threshold_of_each_class(pictures: Path, detector_weights: Path, tmp_path: Path):
    classes = [{"name": "person", "threshold": 0.9}, {"name": "dog", "threshold": 0.2}]
    (tmp_path / "point.json").write_text(json.dumps({"classes": classes}))
    detect(pictures, detector_weights, tmp_path / "dogs", threshold=tmp_path / "point.json")
    assert changed(tmp_path / "dogs" / "a.png.png", pictures / "a.png")
    classes[1]["threshold"] = 0.9
    (tmp_path / "point.json").write_text(json.dumps({"classes": classes}))
    detect(pictures, detector_weights, tmp_path / "none", threshold=str(tmp_path / "point.json"))
    assert not changed(tmp_path / "none" / "a.png.png", pictures / "a.png")
    dogs, none = ((tmp_path / name / "predictions.json").read_text() for name in ("dogs", "none"))
    assert dogs == none


def test_a_broken_picture_is_reported_after_the_others(
    with_broken: Path, detector_weights: Path, tmp_path: Path
):
    out = tmp_path / "out"
    with pytest.raises(UserError) as refused:
        detect(with_broken, detector_weights, out)
    text = str(refused.value)
    assert text.startswith("1 picture could not be read; the others are done:\n  ")
    assert str(with_broken / "b.jpg") in text and refused.value.exit_status == 2
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == {
        *("a.png.png", "below/c.jpg.png", "predictions.json")
    }
    images = json.loads((out / "predictions.json").read_text())["images"]
    # A number stays the picture's own, whether or not those before it could be read.
    assert [(image["id"], image["file_name"]) for image in images] == [(1, "a.png"), (3, "below/c.jpg")]


def test_only_broken_pictures(with_broken: Path, detector_weights: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"1 picture could not be read.*\n.*b\.jpg"):
        detect(with_broken / "b.jpg", detector_weights, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["images"] == []


def test_a_limit_takes_the_first(pictures: Path, detector_weights: Path, tmp_path: Path):
    detect(pictures, detector_weights, tmp_path / "out", limit=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png.png", "predictions.json"]


def test_a_folder_in_use_is_refused(pictures: Path, detector_weights: Path, tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    detect(pictures, detector_weights, out, limit=1)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    with pytest.raises(UserError, match="is not empty; choose another --out, or pass --overwrite"):
        detect(pictures, detector_weights, out)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    detect(pictures, detector_weights, out, overwrite=True)
    assert (out / "below" / "c.jpg.png").is_file()


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_is_no_folder(pictures: Path, detector_weights: Path, tmp_path: Path, overwrite: bool):
    (tmp_path / "out").write_text("notes")
    with pytest.raises(UserError, match="out is a file, expected a folder; choose another --out"):
        detect(pictures, detector_weights, tmp_path / "out", overwrite=overwrite)
    assert (tmp_path / "out").read_text() == "notes"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.1}, "--threshold must be a probability from 0 to 1, got 1.1"),
        ({"threshold": -0.1}, "got -0.1"),
        ({"threshold": float("nan")}, "got nan"),
        ({"threshold": "half"}, "half: no such file; --threshold must be a probability .* or a file"),
        ({"limit": 0}, "--limit must be 1 or more, got 0"),
        ({"limit": -1}, "--limit must be 1 or more, got -1"),
    ],
)
def test_impossible_options(
    pictures: Path, detector_weights: Path, tmp_path: Path, options: dict, message: str
):
    with pytest.raises(UserError, match=message):
        detect(pictures, detector_weights, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The pictures that are decoded, each time they are."""
    paths: list[Path] = []
    decode = images.decode_image

    def noted(content: bytes, name: str, size: tuple[int, int] | None = None):
        paths.append(Path(name))
        return decode(content, name, size)

    monkeypatch.setattr(images, "decode_image", noted)
    return paths


def test_every_picture_is_decoded_once(
    pictures: Path, detector_weights: Path, tmp_path: Path, decoded: list[Path]
):
    detect(pictures, detector_weights, tmp_path / "out")
    assert decoded == [pictures / "a.png", pictures / "below" / "c.jpg"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_was_found_is_written_whatever_stops_the_work(
    pictures: Path,
    detector_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
):
    save = Image.Image.save

    def fail_at_c(picture: Image.Image, file: Path) -> None:
        if file.name == "c.jpg.png":
            raise error
        save(picture, file)

    monkeypatch.setattr(Image.Image, "save", fail_at_c)
    with pytest.raises(type(error)):
        detect(pictures, detector_weights, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png", "below/c.jpg"]


def test_a_list_is_always_of_the_pictures_beside_it(
    pictures: Path, detector_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    detect(pictures, detector_weights, out)
    save, listed = Image.Image.save, []

    def save_and_look(picture: Image.Image, file: Path) -> None:
        listed.append((out / "predictions.json").exists())  # as a call killed here would leave it
        save(picture, file)

    monkeypatch.setattr(Image.Image, "save", save_and_look)
    detect(pictures, detector_weights, out, overwrite=True)
    assert listed == [False, False] and (out / "predictions.json").is_file()


def test_drawings_are_not_read_as_pictures(pictures: Path, detector_weights: Path):
    for _ in range(2):
        detect(pictures, detector_weights, pictures / "out", overwrite=True)
    drawn = {path.relative_to(pictures / "out").as_posix() for path in (pictures / "out").rglob("*.png")}
    assert drawn == {"a.png.png", "below/c.jpg.png"}
    with pytest.raises(UserError, match="holds no picture outside"):
        detect(pictures, detector_weights, pictures, overwrite=True)


def test_overrides_reach_the_detector(pictures: Path, detector_weights: Path, tmp_path: Path):
    detect(pictures, detector_weights, tmp_path / "out", overrides=["roi.detections_per_image=2"])
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())["annotations"]
    assert [sum(entry["image_id"] == number for entry in entries) for number in (1, 2)] == [2, 2]
    with pytest.raises(UserError, match="roi.detections: unknown key"):
        detect(pictures, detector_weights, tmp_path / "other", overrides=["roi.detections=2"])


def test_predictions_of_pictures_score_as_those_of_the_weights(
    detector_weights: Path, coco_root: Path, tmp_path: Path
):
    # The data set numbers its pictures 30, 10, 20, the folder in order of name.
    expected = score_weights(detector_weights, [f"data.root={coco_root}", "run.device=cpu"], None)
    detect(coco_root / "val", detector_weights, tmp_path / "out", overrides=["run.device=cpu"])
    file, truth = tmp_path / "out" / "predictions.json", coco_root / "annotations" / "instances_val.json"
    found = score_predictions([str(file)], f"coco:{truth}", None, tmp_path / "scores")
    assert found == expected
    written = json.loads((tmp_path / "scores" / "result.json").read_text())
    evaluated = {"predictions": str(file), "dataset": f"coco:{truth}", "pictures": None}
    assert written == {**expected, "evaluated": evaluated}


def test_everything_is_written_below_the_folder(detector_weights: Path, tmp_path: Path, monkeypatch):
    names = ["cwd/a.png", "other/b\x1b.png", "other/predictions.json/c.png", f"other/{'x' * 251}.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path / "cwd")
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    detect([Path("a.png"), Path("../other")], detector_weights, Path("boxes/run"))
    out = tmp_path / "cwd" / "boxes" / "run"
    written = {file for file in tmp_path.rglob("*") if file.is_file()} - before
    found = sorted(str(file.relative_to(out)) for file in written)  # an error of those outside
    drawn = [
        "cwd/a.png.png",
        "other/b-.png.png",
        "other/predictions.json/c.png.png",
        f"other/{'x' * 196}.png",
    ]
    assert found == [*drawn, "predictions.json"]
    images = json.loads((out / "predictions.json").read_text())["images"]
    assert sorted(image["file_name"] for image in images) == names  # by which they are found again


def test_heat_maps_of_the_strongest_are_drawn_beside(
    with_broken: Path, detector_weights: Path, tmp_path: Path
):
    plain, out = tmp_path / "plain", tmp_path / "out"
    options = {"threshold": 0.0, "overrides": ["roi.score_threshold=0"]}
    for folder, explain in ((plain, None), (out, 2)):
        with pytest.raises(UserError, match="b.jpg"):
            detect(with_broken, detector_weights, folder, explain=explain, **options)
    explained = {path.relative_to(out / "explained").as_posix() for path in out.glob("explained/**/*.png")}
    assert explained == {"a.png.png", "below/c.jpg.png"}
    # The picture, and two detections.
    assert Image.open(out / "explained" / "a.png.png").size == (3 * 60 + 2 * 4, 40)
    for name in ("predictions.json", "a.png.png"):
        assert (plain / name).read_bytes() == (out / name).read_bytes()
    assert not (plain / "explained").exists()
    with pytest.raises(UserError, match="--explain must be at least 1 detection a picture, got 0"):
        detect(with_broken, detector_weights, tmp_path / "none", explain=0)
