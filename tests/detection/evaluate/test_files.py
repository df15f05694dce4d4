"""Result files scored, weights scored, and pictures predicted, with what is written where."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageChops

from detection.data.voc import VOC_CLASSES, VocDataset
from detection.evaluate import coco_ap, voc_ap
from detection.evaluate.files import predict_pictures, score_predictions_file, score_weights
from detection.types import Prediction
from engine.errors import UserError

CAT, DOG = VOC_CLASSES.index("cat") + 1, VOC_CLASSES.index("dog") + 1


def record(image: int | str, category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


@pytest.fixture
def devkit(write_voc: Callable[..., Path]) -> Path:
    """Two cats in picture 000001, a dog in 000002, which no file of ours finds; VOC's corners, from 1."""
    cats = [("cat", (1, 1, 10, 10), 0), ("cat", (21, 21, 30, 30), 0)]
    return write_voc({"000001": cats, "000002": [("dog", (5, 5, 9, 9), 0)]})


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


@pytest.mark.parametrize(
    ("method", "metric", "cat"),
    [("area", "voc12", 0.5 + 0.5 * 2 / 3), ("11point", "voc07", (6 + 10 / 3) / 11)],
)
def test_a_result_file_on_voc(devkit: Path, tmp_path: Path, method: Any, metric: str, cat: float):
    # Hit (.9), the same cat again (.8), the other cat (.7); widths and heights, and corners from 0.
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 10, 10]]
    records = [record("000001", CAT, box, s) for box, s in zip(boxes, (0.9, 0.8, 0.7), strict=True)]
    (tmp_path / "found.json").write_text(json.dumps(records))
    place = f"voc:{devkit / 'VOC2007'}:train"
    result = score_predictions_file(str(tmp_path / "found.json"), place, method)
    assert result["metric"] == metric and result["scores"] == {"mAP": pytest.approx(cat / 2)}
    known = {name: ap for name, ap in result["class_ap"].items() if ap is not None}
    assert known == {"cat": pytest.approx(cat), "dog": 0}

    corners = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    found = Prediction(corners, torch.full((3,), CAT), torch.tensor([0.9, 0.8, 0.7]), "000001")
    nothing = Prediction(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0), "000002")
    truth = VocDataset(devkit, [("2007", "train")]).targets
    assert result["scores"]["mAP"] == voc_ap.evaluate([found, nothing], truth, 20, method=method).mean


def test_a_result_file_on_coco(coco_root: Path, tmp_path: Path):
    # Picture 10 has a dog (1, 0, 4, 2), found, and a person, missed; the crowd of picture 30 does not count.
    records = [record(10, 18, [1, 0, 3, 2], 0.6), record(30, 1, [2, 0, 1, 4], 0.9)]
    annotations, file = coco_root / "annotations" / "instances_val.json", tmp_path / "found.json"
    file.write_text(json.dumps(records))
    result = score_predictions_file(str(file), f"coco:{annotations}", "area")
    assert result["metric"] == "coco"
    assert result["class_ap"] == {"person": 0, "dog": pytest.approx(1)}
    expected = coco_ap.evaluate(annotations, records).stats.tolist()
    assert result["scores"]["AP"] == pytest.approx(0.5)
    assert list(result["scores"].values()) == [None if value == -1 else value for value in expected]
    assert result["scores"]["APl"] is None  # nothing large


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (None, "got None"),
        ("kitti:x", "must be coco:ANNOTATIONS.json or voc:DEVKIT/VOC<year>:<split>, got 'kitti:x'"),
        ("coco:", "got 'coco:'"),
        ("voc:{devkit}/VOC2007", "for instance voc:data/VOCdevkit/VOC2007:test"),
        ("voc:{devkit}/VOC2007:tran", "has no split 'tran'; did you mean 'train'"),
        ("voc:{devkit}/VOC2012:train", "no VOC pictures in"),
        ("coco:{devkit}/none.json", "none.json: no such file"),
    ],
)
def test_sets_that_are_not_there(devkit: Path, tmp_path: Path, place: str | None, part: str):
    (tmp_path / "found.json").write_text("[]")
    place = place and place.format(devkit=devkit)
    with pytest.raises(UserError) as refused:
        score_predictions_file(str(tmp_path / "found.json"), place, "area")
    assert part in str(refused.value)


def test_a_wrong_record_names_its_file(devkit: Path, tmp_path: Path):
    (tmp_path / "found.json").write_text(json.dumps([record(1, CAT, [0, 0, 1, 1], 0.5)]))
    with pytest.raises(UserError, match=r"found\.json: record 0: image_id 1"):
        score_predictions_file(str(tmp_path / "found.json"), f"voc:{devkit / 'VOC2007'}:train", "area")


def test_weights_are_scored_and_nothing_is_written_unless_asked(
    detector_weights: Path, coco_root: Path, tmp_path: Path
):
    overrides = [f"data.root={coco_root}", "run.device=cpu"]
    before = sorted(detector_weights.parent.iterdir())
    result = score_weights(detector_weights, overrides, None)
    # A run folder's result.json says that the run ended: an evaluation must not put one beside the weights.
    assert sorted(detector_weights.parent.iterdir()) == before
    assert result["class_ap"].keys() == {"person", "dog"} and result["scores"]["AP"] is not None

    out = tmp_path / "new" / "scores"
    assert score_weights(detector_weights, overrides, out) == result
    assert json.loads((out / "result.json").read_text()) == result
    assert sorted(path.name for path in out.iterdir()) == ["predictions.json", "result.json"]
    truth = coco_root / "annotations" / "instances_val.json"
    assert score_predictions_file(str(out / "predictions.json"), f"coco:{truth}", "area") == result
    voc = score_weights(detector_weights, [*overrides, "metric=voc12"], None)
    assert voc["metric"] == "voc12" and voc["scores"].keys() == {"mAP"}


def test_data_of_other_classes_is_refused(detector_weights: Path, coco_root: Path):
    file = coco_root / "annotations" / "instances_val.json"
    file.write_text(file.read_text().replace("dog", "cat"))
    with pytest.raises(
        UserError, match="knows the classes person, dog; data.val has person, cat: choose data"
    ):
        score_weights(detector_weights, [f"data.root={coco_root}", "run.device=cpu"], None)


def test_pictures_are_drawn_and_listed(pictures: Path, detector_weights: Path, tmp_path: Path):
    # The weights say run.device=cuda; where they were trained does not matter here.
    out = tmp_path / "out"
    detect(pictures, detector_weights, out, threshold=0.0)
    names = ["a.png", "below/c.jpg"]
    assert [Image.open(out / f"{name}.png").size for name in names] == [(60, 40), (30, 50)]
    content = json.loads((out / "predictions.json").read_text())
    sizes = [(image["file_name"], image["height"], image["width"]) for image in content["images"]]
    assert sizes == [("a.png", 40, 60), ("below/c.jpg", 50, 30)]
    assert content["categories"] == [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
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


def test_a_broken_picture_is_reported_after_the_others(
    with_broken: Path, detector_weights: Path, tmp_path: Path
):
    out = tmp_path / "out"
    with pytest.raises(UserError) as refused:
        detect(with_broken, detector_weights, out)
    text = str(refused.value)
    assert text.startswith("1 pictures could not be read; the others are done:\n  ")
    assert str(with_broken / "b.jpg") in text and refused.value.exit_status == 2
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == {
        *("a.png.png", "below/c.jpg.png", "predictions.json")
    }
    images = json.loads((out / "predictions.json").read_text())["images"]
    # A number stays the picture's own, whether or not those before it could be read.
    assert [(image["id"], image["file_name"]) for image in images] == [(1, "a.png"), (3, "below/c.jpg")]


def test_only_broken_pictures(with_broken: Path, detector_weights: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"1 pictures could not be read.*\n.*b\.jpg"):
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
