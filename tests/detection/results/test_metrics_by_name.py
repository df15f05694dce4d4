"""One record of figures and classes, whatever the metric, and None where there was nothing to find."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from detection.data.annotations import JoinedDataset
from detection.data.coco_dataset import CocoDataset
from detection.data.voc_dataset import VocDataset
from detection.metrics import coco_ap
from detection.results.evaluation import score_weights
from detection.results.metrics_by_name import METRICS, Metric, describe, score
from detection.results.pasted_masks import as_run_length
from detection.types import Prediction, Target
from foundation.errors import UserError


def prediction(boxes: list, labels: list, scores: list, image_id: int | str) -> Prediction:
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Prediction(boxes, torch.tensor(labels, dtype=torch.int64), torch.tensor(scores), image_id)


def dataset(boxes: list, labels: list) -> Any:
    """One picture of 500 x 500, named 7, of three classes."""
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    ignore = torch.zeros(len(boxes), dtype=torch.bool)
    target = Target(boxes, torch.tensor(labels, dtype=torch.int64), ignore, 7, (500, 500))
    return SimpleNamespace(
        classes=["ape", "bee", "cow"], category_ids=[1, 5, 9], image_ids=[7], targets=[target]
    )


# Ape: hit (.9), the same object again (.8), hit (.7): recall .5 .5 1, precision 1 1/2 2/3.
# Bee: missed. Cow: none there.
TRUTH = dataset([[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 90, 90]], [1, 1, 2])
FOUND = [prediction([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], [1, 1, 1], [0.9, 0.8, 0.7], 7)]


@pytest.mark.parametrize(
    ("metric", "ape"), [("voc12", 0.5 * 1 + 0.5 * 2 / 3), ("voc07", (6 * 1 + 5 * 2 / 3) / 11)]
)
def test_voc(metric: Any, ape: float):
    result = score(FOUND, TRUTH, metric)
    assert result["metric"] == metric
    assert result["scores"] == {"mAP": pytest.approx((ape + 0) / 2)}
    assert result["class_ap"] == {"ape": pytest.approx(ape), "bee": 0, "cow": None}


def test_ilsvrc_leaves_out_the_blacklist():
    # The bee is on it, so the mean is the ape's alone.
    assert score(FOUND, TRUTH, "ilsvrc_det")["scores"] == {"mAP": pytest.approx((0.5 + 0.5 * 2 / 3) / 2)}
    listed = dataset([[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 90, 90]], [1, 1, 2])
    listed.void_pairs = frozenset({(0, 2)})
    result = score(FOUND, listed, "ilsvrc_det")
    assert result["scores"] == {"mAP": pytest.approx(0.5 + 0.5 * 2 / 3)}
    assert result["class_ap"] == {"ape": pytest.approx(0.5 + 0.5 * 2 / 3), "bee": None, "cow": None}


def test_coco_of_a_set_that_is_not_cocos():
    # The ape's AP by COCO's 101 recalls: 51 up to .5 have precision 1, 50 have 2/3, at every threshold.
    # At IoU .9 as well: the second detection, of IoU .9 with the object the first has taken, is false.
    result = score(FOUND, TRUTH, "coco")
    ape = (51 * 1 + 50 * 2 / 3) / 101
    assert result["class_ap"] == {"ape": pytest.approx(ape), "bee": 0, "cow": None}
    scores = result["scores"]
    assert list(scores) == list(coco_ap.STAT_NAMES) and result["metric"] == "coco"
    assert scores["AP"] == pytest.approx(ape / 2)
    # The ape's objects are of 100 pixels, the bee's of 1600; nothing is larger than 9216.
    assert (scores["APs"], scores["APm"], scores["APl"]) == (pytest.approx(ape), 0, None)


def test_coco_reads_the_areas_of_the_annotation_file(tmp_path: Path):
    # The box has 1600 pixels, the object only 500 of them: for COCO it is small.
    entry = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [10, 10, 40, 40], "area": 500, "iscrowd": 0}
    images = [{"id": 7, "file_name": "a.jpg", "height": 100, "width": 100}]
    content = {"images": images, "categories": [{"id": 5, "name": "bee"}], "annotations": [entry]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    coco = CocoDataset(tmp_path / "a.json", tmp_path)
    scores = score([prediction([[10, 10, 50, 50]], [1], [0.3], 7)], coco, "coco")["scores"]
    assert (scores["AP"], scores["APs"], scores["APm"]) == (pytest.approx(1), pytest.approx(1), None)


def test_masks_have_figures_of_their_own(write_coco: Callable[..., Path]):
    path = write_coco()
    coco = CocoDataset(path, path.parent)
    # The dog as annotated, 3 x 2 pixels; the person's box is right, its mask half of the annotated one.
    dog = as_run_length([[1, 0, 4, 0, 4, 2, 1, 2]], (4, 6))
    half = as_run_length([[4, 1, 5, 1, 5, 4, 4, 4]], (4, 6))
    found = [prediction([], [], [], i) for i in coco.image_ids]
    found[1] = replace(prediction([[1, 0, 4, 2], [4, 1, 6, 4]], [2, 1], [0.9, 0.8], 10), masks=[dog, half])
    scores = score(found, coco, "coco")["scores"]
    assert list(scores) == [*coco_ap.STAT_NAMES, *(f"segm/{name}" for name in coco_ap.STAT_NAMES)]
    assert scores["AP"] == pytest.approx(1)
    # An overlap of exactly one half is a hit at the lowest threshold alone.
    assert (scores["segm/AP"], scores["segm/AP50"]) == (pytest.approx((1 + 0.1) / 2), pytest.approx(1))
    lines = describe(score(found, coco, "coco")).splitlines()
    assert lines[0].startswith("coco in %: AP 100.00, AP50 100.00") and "segm" not in lines[0]
    assert lines[1].startswith("of the masks: AP 55.00, AP50 100.00")
    nothing = [replace(prediction([], [], [], i), masks=[]) for i in coco.image_ids]
    assert score(nothing, coco, "coco")["scores"]["segm/AP"] == 0


def test_the_size_of_a_mask_is_its_own_not_its_boxs(tmp_path: Path):
    mask = np.zeros((100, 100), dtype=bool)
    mask[10:50, 10:20] = True  # 400 pixels in a box of 1600
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    run_length: Any = {"size": [100, 100], "counts": encoded["counts"].decode()}
    entry = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [10, 10, 40, 40], "area": 400, "iscrowd": 0}
    images = [{"id": 7, "file_name": "a.jpg", "height": 100, "width": 100}]
    content = {"images": images, "categories": [{"id": 5, "name": "bee"}]}
    (tmp_path / "a.json").write_text(
        json.dumps({**content, "annotations": [{**entry, "segmentation": run_length}]})
    )
    coco = CocoDataset(tmp_path / "a.json", tmp_path)
    # The false alarm of higher score is of medium size by its box, small by its mask.
    wrong = as_run_length([[60, 60, 99, 60, 60, 70]], (100, 100))
    found = prediction([[55, 55, 95, 95], [10, 10, 50, 50]], [1, 1], [0.9, 0.3], 7)
    scores = score([replace(found, masks=[wrong, run_length])], coco, "coco")["scores"]
    assert scores["segm/APs"] == pytest.approx(1 / 2)
    assert scores["APs"] == pytest.approx(1)


def test_any_set_by_any_metric(write_voc: Callable[..., Path]):
    root = write_voc({"000007": [("cat", (11, 21, 30, 40), 0), ("dog", (1, 1, 5, 5), 1)], "000009": []})
    voc = VocDataset(root, [("2007", "train")])
    label = voc.classes.index("cat") + 1
    found = [prediction([[10, 20, 30, 40]], [label], [0.4], "000007"), prediction([], [], [], "000009")]
    assert list(METRICS) == ["coco", "voc07", "voc12", "ilsvrc_det"]
    for metric, how in METRICS.items():
        result = score(found, voc, metric)
        assert result["scores"][how.main] == pytest.approx(1)
        known = {name for name, ap in result["class_ap"].items() if ap is not None}
        assert known == {"cat"}  # the difficult dog does not count


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_anywhere(metric: Any):
    result = score([prediction([], [], [], 7)], dataset([], []), metric)
    assert set(result["scores"].values()) == {None}
    assert result["class_ap"] == {"ape": None, "bee": None, "cow": None}
    json.dumps(result, allow_nan=False)


def test_for_people():
    result = {"metric": "voc07", "scores": {"mAP": 0.12345, "x": None}, "class_ap": {"ape": 1.0, "cow": None}}
    assert describe(result).splitlines() == [
        "voc07 in %: mAP 12.35, x -",
        "  ape                   100.00",
        "  cow                        -",
    ]


def test_a_joined_set_has_the_figures_of_one_file(tmp_path: Path):
    # The area is the file's own, not the box's, and there are masks: neither may be lost by joining.
    half = [[10, 10, 30, 10, 30, 20, 10, 20]]
    images = [{"id": n, "file_name": f"{n}.jpg", "height": 60, "width": 80} for n in (1, 2)]
    objects = [
        {"id": 5, "image_id": n, "category_id": 3, "bbox": [10, 10, 20, 20], "area": 200, "iscrowd": 0}
        | {"segmentation": half}
        for n in (1, 2)
    ]
    files = {
        "whole": (images, objects),
        "first": (images[:1], objects[:1]),
        "second": (images[1:], objects[1:]),
    }
    sets = {}
    for name, (some, things) in files.items():
        things = [{**thing, "id": number} for number, thing in enumerate(things, start=1)]
        content = {"images": some, "annotations": things, "categories": [{"id": 3, "name": "cup"}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        sets[name] = CocoDataset(tmp_path / f"{name}.json", tmp_path)
    mask = as_run_length(half, (60, 80))
    found = [replace(prediction([[10, 10, 30, 30]], [1], [0.9], n), masks=[mask]) for n in (1, 2)]
    expected = score(found, sets["whole"], "coco")
    assert expected["scores"]["APs"] == expected["scores"]["segm/AP"] == 1
    assert score(found, JoinedDataset([sets["first"], sets["second"]], "first+second"), "coco") == expected


def test_a_new_metric_is_one_entry_of_the_table(
    detector_weights: Path, coco_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Found boxes a picture: a configuration may name it, and its figures stand in result.json."""

    def boxes_a_picture(predictions: Sequence[Prediction], dataset: Any) -> tuple[dict, dict]:
        total = sum(len(one.boxes) for one in predictions)
        return {"boxes": total / len(predictions)}, dict.fromkeys(dataset.classes, float("nan"))

    overrides = [f"data.root={coco_root}", "run.device=cpu", "metric=boxes"]
    with pytest.raises(UserError, match="metric: unknown metric 'boxes'; choose from coco, voc07, voc12"):
        score_weights(detector_weights, overrides, tmp_path)
    monkeypatch.setitem(METRICS, "boxes", Metric(boxes_a_picture, main="boxes"))
    score_weights(detector_weights, overrides, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    records = json.loads((tmp_path / "predictions.json").read_text())
    assert result.pop("evaluated")["config"]["metric"] == "boxes"
    assert result == {
        "metric": "boxes",
        "scores": {"boxes": pytest.approx(len(records) / 3)},
        "class_ap": {"person": None, "dog": None},
    }
