"""Result files scored and weights scored, with what is written where."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from backbones.weights.downloads import digest
from detection.data.dataset_splits import open_dataset
from detection.data.voc_dataset import VOC_CLASSES, VocDataset
from detection.improve.improve_options import ImproveOptions
from detection.metrics import coco_ap, voc_ap
from detection.results import evaluation as module
from detection.results.detection_report import ReportOptions, describe_all
from detection.results.evaluation import score_predictions, score_weights
from detection.types import Prediction
from foundation.errors import UserError

CAT, DOG = VOC_CLASSES.index("cat") + 1, VOC_CLASSES.index("dog") + 1


def record(image: int | str, category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


@pytest.fixture
def devkit(write_voc: Callable[..., Path]) -> Path:
    """Two cats in picture 000001, a dog in 000002, which no file of ours finds; VOC's corners, from 1."""
    cats = [("cat", (1, 1, 10, 10), 0), ("cat", (21, 21, 30, 30), 0)]
    return write_voc({"000001": cats, "000002": [("dog", (5, 5, 9, 9), 0)]})


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
    result = score_predictions([str(tmp_path / "found.json")], place, method)
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
    result = score_predictions([str(file)], f"coco:{annotations}")
    assert result["metric"] == "coco"
    assert result["class_ap"] == {"person": 0, "dog": pytest.approx(1)}
    expected = coco_ap.evaluate(annotations, records).stats.tolist()
    assert result["scores"]["AP"] == pytest.approx(0.5)
    assert list(result["scores"].values()) == [None if value == -1 else value for value in expected]
    assert result["scores"]["APl"] is None  # nothing large


def test_masks_without_boxes_get_the_boxes_around_them(coco_root: Path, tmp_path: Path):
    annotations, file = coco_root / "annotations" / "instances_val.json", tmp_path / "found.json"
    content = json.loads(annotations.read_text())
    size = next([i["height"], i["width"]] for i in content["images"] if i["id"] == 10)
    mask = np.zeros(size, dtype=np.uint8, order="F")
    mask[0:2, 1:4] = 1
    counts = coco_mask.encode(mask)["counts"].decode()
    bare = {"image_id": 10, "category_id": 18, "score": 0.6, "segmentation": {"size": size, "counts": counts}}

    def scored(entry: dict[str, Any], **options: Any) -> dict[str, Any] | None:
        file.write_text(json.dumps([entry]))
        return score_predictions([str(file)], f"coco:{annotations}", **options)

    result = scored(bare)
    assert result == scored({**bare, "bbox": [1, 0, 3, 2]})
    assert result["class_ap"]["dog"] == pytest.approx(1)
    assert scored(bare, options=ReportOptions(explain=True)).keys() > result.keys()  # by way of predictions
    with pytest.raises(UserError, match="found.json: record 0: image_id 11 is not in the annotation file"):
        scored({**bare, "image_id": 11})


def test_masks_without_boxes_are_explained_on_voc_too(devkit: Path, tmp_path: Path):
    # The first cat's pixels, 0 … 9 both ways, of a picture of 353 x 500.
    mask = np.zeros((500, 353), dtype=np.uint8, order="F")
    mask[:10, :10] = 1
    run_length = {"size": [500, 353], "counts": coco_mask.encode(mask)["counts"].decode()}
    bare = {"image_id": "000001", "category_id": CAT, "score": 0.6, "segmentation": run_length}
    (tmp_path / "found.json").write_text(json.dumps([bare]))
    place, options = f"voc:{devkit / 'VOC2007'}:train", ReportOptions(explain=True)
    result = score_predictions([str(tmp_path / "found.json")], place, options=options)
    assert result is not None and result["class_ap"]["cat"] == pytest.approx(1 / 2)
    # One of two cats by 51 of COCO's 101 recalls, no dog.
    assert result["conventions"][2]["mAP"] == pytest.approx(51 / 101 / 2)


class TestSeveralFiles:
    """Files of two detectors, of which one finds the first cat and the other the second and the dog."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[str]:
        found = {
            "a": [record("000001", CAT, [0, 0, 10, 10], 0.8)],
            "b": [record("000001", CAT, [20, 20, 10, 10], 0.6), record("000002", DOG, [4, 4, 5, 5], 0.4)],
        }
        for name, records in found.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(records))
        return [str(tmp_path / f"{name}.json") for name in found]

    def test_together_they_find_more(self, files: list[str], devkit: Path, tmp_path: Path):
        place, out = f"voc:{devkit / 'VOC2007'}:train", tmp_path / "out"
        alone = [score_predictions([file], place)["scores"]["mAP"] for file in files]
        assert alone == [pytest.approx(1 / 4), pytest.approx(3 / 4)]
        result = score_predictions(files, place, None, out)
        assert result["scores"] == {"mAP": pytest.approx(1)}
        assert result["improve"] == {"files": 2, "merge": "nms"}
        assert describe_all(result).startswith("files 2, merge nms\n")
        about = json.loads((out / "result.json").read_text())["evaluated"]
        assert about == {"predictions": ", ".join(files), "dataset": place, "pictures": None}
        written = str(out / "predictions.json")
        scores = [entry["score"] for entry in json.loads(Path(written).read_text())]
        assert scores == [0.8, 0.6, 0.4] and score_predictions([written], place)["scores"]["mAP"] == 1
        # Of each object one of two detectors tells.
        score_predictions(files, place, None, out, merge="wbf")
        scores = [entry["score"] for entry in json.loads(Path(written).read_text())]
        assert scores == [pytest.approx(0.4), pytest.approx(0.3), pytest.approx(0.2)]

    def test_what_has_no_effect_or_would_be_lost_is_refused(self, files: list[str], devkit: Path):
        place = f"voc:{devkit / 'VOC2007'}:train"
        with pytest.raises(UserError, match="--merge joins several --predictions, and there is one"):
            score_predictions(files[:1], place, merge="nms")
        read = Path(files[0]).rename(Path(files[0]).with_name("predictions.json"))
        with pytest.raises(UserError, match=r"would overwrite the predictions.json that is read"):
            score_predictions([str(read), files[1]], place, None, read.parent)


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (None, "got None"),
        ("kitti:x", "or coco:ANNOTATIONS.json or voc:DEVKIT/VOC<year>:<split>, got 'kitti:x'"),
        ("coco:", "got 'coco:'"),
        ("voc:", "for instance voc:data/VOCdevkit/VOC2007:test"),
        ("voc:{devkit}/VOC2007:tran", "has no split 'tran'; did you mean 'train'"),
        ("voc:{devkit}/VOC2012:train", "no VOC pictures in"),
        ("coco:{devkit}/none.json", "none.json: no such file"),
    ],
)
def test_sets_that_are_not_there(devkit: Path, tmp_path: Path, place: str | None, part: str):
    (tmp_path / "found.json").write_text("[]")
    place = place and place.format(devkit=devkit)
    with pytest.raises(UserError) as refused:
        score_predictions([str(tmp_path / "found.json")], place)
    assert part in str(refused.value)


def test_a_wrong_record_names_its_file(devkit: Path, tmp_path: Path):
    (tmp_path / "found.json").write_text(json.dumps([record(1, CAT, [0, 0, 1, 1], 0.5)]))
    with pytest.raises(UserError, match=r"found\.json: record 0: image_id 1"):
        score_predictions([str(tmp_path / "found.json")], f"voc:{devkit / 'VOC2007'}:train")


def stop(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_weights_are_scored_and_nothing_is_written_unless_asked(
    detector_weights: Path, coco_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    overrides = [f"data.root={coco_root}", "run.device=cpu"]
    before = sorted(detector_weights.parent.iterdir())
    result = score_weights(detector_weights, overrides, None)
    # A run folder's result.json says that the run ended: an evaluation must not put one beside the weights.
    assert sorted(detector_weights.parent.iterdir()) == before
    assert result["class_ap"].keys() == {"person", "dog"} and result["scores"]["AP"] is not None

    out = tmp_path / "new" / "scores"
    assert score_weights(detector_weights, overrides, out) == result
    written = json.loads((out / "result.json").read_text())
    about = written.pop("evaluated")
    assert written == result
    assert about["weights"] == str(detector_weights) and about["sha256"] == digest(detector_weights)
    assert about["config"]["data"]["root"] == str(coco_root)  # with the changes of the command
    assert 0 < about["cost"]["seconds_a_picture"] < 60 and about["cost"]["memory_of"] == "RAM"
    assert sorted(path.name for path in out.iterdir()) == ["predictions.json", "result.json"]
    truth = coco_root / "annotations" / "instances_val.json"
    assert score_predictions([str(out / "predictions.json")], f"coco:{truth}") == result
    monkeypatch.setattr(module, "score", stop)
    with pytest.raises(KeyboardInterrupt):
        score_weights(detector_weights, overrides, out)
    assert [path.name for path in out.iterdir()] == ["predictions.json"]  # and no result of others
    monkeypatch.undo()
    voc = score_weights(detector_weights, [*overrides, "metric=voc12"], None)
    assert voc["metric"] == "voc12" and voc["scores"].keys() == {"mAP"}


def test_a_score_of_several_looks_says_so(detector_weights: Path, coco_root: Path, tmp_path: Path):
    overrides, truth = [f"data.root={coco_root}", "run.device=cpu"], coco_root / "annotations"
    improve = ImproveOptions(tta="flip,scales=48:64", merge="wbf")
    result = score_weights(detector_weights, overrides, tmp_path, improve=improve)
    assert result["improve"] == {"tta": "flip,scales=48:64", "merge": "wbf"}
    assert describe_all(result).startswith("tta flip,scales=48:64, merge wbf\n")
    assert json.loads((tmp_path / "result.json").read_text())["improve"] == result["improve"]
    found = str(tmp_path / "predictions.json")
    again = score_predictions([found], f"coco:{truth / 'instances_val.json'}")
    assert again == {name: value for name, value in result.items() if name != "improve"}
    plain = score_weights(detector_weights, overrides, tmp_path / "plain")
    records = [
        json.loads((folder / "predictions.json").read_text()) for folder in (tmp_path, tmp_path / "plain")
    ]
    assert "improve" not in plain and records[0] != records[1]
    # Pictures of 6 x 4 pixels fit into a tile: nothing changes, with workers neither.
    options = ImproveOptions(tiles=32)
    score_weights(detector_weights, [*overrides, "run.workers=1"], tmp_path / "tiled", improve=options)
    assert json.loads((tmp_path / "tiled" / "predictions.json").read_text()) == records[1]


def test_an_ensemble_is_scored_and_says_so(detector_weights: Path, coco_root: Path, tmp_path: Path):
    overrides = [f"data.root={coco_root}", "run.device=cpu", "testing.refine=1", "testing.scales=[48,64]"]
    pair = [detector_weights, detector_weights]
    result = score_weights(pair, overrides, tmp_path)
    assert result["improve"] == {"detectors": 2, "refine": 1, "vote": True, "scales": [48, 64]}
    assert describe_all(result).startswith("detectors 2, refine 1, vote True, scales [48, 64]\n")
    about = json.loads((tmp_path / "result.json").read_text())["evaluated"]
    assert about["weights"] == f"{detector_weights}, {detector_weights}"
    with pytest.raises(
        UserError, match="--without is of one detector's backbone, and there are 2; leave it out"
    ):
        score_weights(pair, overrides, None, without=["res3.1"])


def test_data_of_other_classes_is_refused(detector_weights: Path, coco_root: Path):
    file = coco_root / "annotations" / "instances_val.json"
    file.write_text(file.read_text().replace("dog", "cat"))
    with pytest.raises(
        UserError, match="knows the classes person, dog; data.val has person, cat: choose data"
    ):
        score_weights(detector_weights, [f"data.root={coco_root}", "run.device=cpu"], None)


def test_predictions_of_pictures_score_on_voc(devkit: Path, tmp_path: Path):
    records = [{"id": 1, **record(1, CAT, [0, 0, 10, 10], 0.9)}]
    content = {"images": [{"id": 1, "file_name": "000001.jpg"}], "annotations": records}
    file, place = tmp_path / "found.json", f"voc:{devkit / 'VOC2007'}:train"
    file.write_text(json.dumps(content))
    result = score_predictions([str(file)], place)
    assert result is not None and result["class_ap"]["cat"] == pytest.approx(0.5)
    file.write_text(json.dumps(content).replace("000001.jpg", "else.jpg"))
    with pytest.raises(UserError, match=r"found\.json: picture 'else.jpg' is not in the data set"):
        score_predictions([str(file)], place)
    file.write_text(json.dumps({**content, "images": [1]}))
    with pytest.raises(UserError, match="images must be a list of entries with id and file_name"):
        score_predictions([str(file)], place)


def test_only_the_main_process_scores(
    detector_weights: Path, coco_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "is_main", lambda: False)
    overrides = [f"data.root={coco_root}", "run.device=cpu"]
    assert score_weights(detector_weights, overrides, tmp_path / "out") is None
    assert score_predictions(["none.json"], "coco:none.json", None, tmp_path / "out") is None
    assert not (tmp_path / "out").exists()


def test_whatever_is_asked_of_a_result_file(devkit: Path, tmp_path: Path):
    Image.new("RGB", (353, 500)).save(devkit / "VOC2007" / "JPEGImages" / "000001.jpg")
    Image.new("RGB", (353, 500)).save(devkit / "VOC2007" / "JPEGImages" / "000002.jpg")
    records = [record("000001", CAT, [0, 0, 10, 10], 0.9), record("000001", DOG, [50, 50, 9, 9], 0.8)]
    (tmp_path / "found.json").write_text(json.dumps(records))
    out = tmp_path / "out"
    options = ReportOptions(explain=True, bootstrap=10, report=True, worst=1, submission=tmp_path / "sent")
    place = f"voc:{devkit / 'VOC2007'}:train"
    result = score_predictions([str(tmp_path / "found.json")], place, "11point", out, options)
    written = json.loads((out / "result.json").read_text())
    assert written.pop("evaluated")["dataset"].startswith("voc:") and written == result
    # One of two cats found, so 6 of 11 recalls are reached; no dog.
    assert result["scores"]["mAP"] == pytest.approx(3 / 11)
    assert result["interval"]["low"] <= 3 / 11 <= result["interval"]["high"]
    assert result["conventions"][1]["mAP"] == pytest.approx(3 / 11)
    assert result["errors"]["errors"]["Miss"]["count"] == 2
    names = {path.relative_to(out).as_posix() for path in out.rglob("*.*")}
    assert names == {
        *("result.json", "curves.json", "precision_recall.png", "confidence.json", "confidence.png"),
        *("confusion.csv", "confusion.png", "confusion_normalised.png"),
        *("false_alarms/001_dog_0.80_000001.png", "misses/001_cat_iou0.00_000001.png"),
    }
    sent = tmp_path / "sent" / "results" / "VOC2007" / "Main" / "comp4_det_train_cat.txt"
    assert sent.read_text().startswith("000001 0.900000000 1.000000 1.000000 10.000000 10.000000")
    text = describe_all(result)
    for part in ("voc07 in %: mAP 27.27", "95 % interval over 10", "VOC2007: 11 recalls", "TIDE"):
        assert part in text


def test_without_objects_every_report_says_so(coco_root: Path, tmp_path: Path):
    file = coco_root / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "annotations": []}))
    (tmp_path / "found.json").write_text("[]")
    options = ReportOptions(explain=True, bootstrap=5, report=True)
    result = score_predictions([str(tmp_path / "found.json")], f"coco:{file}", None, tmp_path, options)
    assert result is not None
    json.dumps(result, allow_nan=False)
    assert result["interval"]["low"] is None and result["conventions"][0]["mAP"] is None
    describe_all(result)


class TestWithoutTruth:
    """A split of pictures alone, of which only the evaluation server knows the objects."""

    @pytest.fixture
    def weights(self, detector_weights: Path, coco_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        def opened(config: Any, split: str) -> Any:
            dataset = open_dataset(config, split)
            dataset.has_truth = False
            return dataset

        monkeypatch.setattr(module, "open_dataset", opened)
        self.overrides = [f"data.root={coco_root}", "run.device=cpu"]
        return detector_weights

    def test_it_is_predicted_and_not_scored(self, weights: Path, tmp_path: Path):
        options = ReportOptions(submission=tmp_path / "sent.json")
        assert score_weights(weights, self.overrides, None, options) == {}
        sent = json.loads((tmp_path / "sent.json").read_text())
        assert score_weights(weights, self.overrides, tmp_path / "out") == {}
        assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == sent != []

    @pytest.mark.parametrize(
        "asked", [{"explain": True}, {"bootstrap": 9}, {"report": True}, {"operating_point": "f1"}]
    )
    def test_nothing_can_be_compared(self, weights: Path, tmp_path: Path, asked: dict):
        with pytest.raises(UserError, match="val has no annotations to compare with"):
            score_weights(weights, self.overrides, tmp_path / "out", ReportOptions(**asked))

    def test_something_must_be_written(self, weights: Path):
        with pytest.raises(UserError, match="val has no annotations, so nothing can be scored: name --sub"):
            score_weights(weights, self.overrides, None)

    def test_of_a_result_file_too(self, tmp_path: Path):
        truth, found = tmp_path / "image_info_test-dev2017.json", tmp_path / "found.json"
        images = [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 6}]
        truth.write_text(json.dumps({"images": images, "categories": [{"id": 3, "name": "cup"}]}))
        record = {"image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2], "score": 0.5}
        found.write_text(json.dumps([record]))
        with pytest.raises(UserError, match="test-dev2017 has no annotations, so nothing can be scored"):
            score_predictions([str(found)], f"coco:{truth}")
        options = ReportOptions(submission=tmp_path / "sent.json")
        assert score_predictions([str(found)], f"coco:{truth}", None, None, options) == {}
        assert json.loads((tmp_path / "sent.json").read_text()) == [record]
