"""One figure, wherever it is printed: boxes across the border, tied scores, pictures out of order."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from detection.data.coco_dataset import CocoDataset
from detection.data.voc_dataset import VOC_CLASSES
from detection.metrics.conventions import ILSVRC, class_matches, mean_of
from detection.results.comparison import Comparison
from detection.results.detection_report import ReportOptions
from detection.results.evaluation import score_predictions
from detection.results.metrics_by_name import score
from detection.results.result_records import from_coco_records

HEIGHT, WIDTH = 60, 80
ALL = ReportOptions(explain=True, bootstrap=20, report=True, worst=3)


def run_length(box: list[float]) -> dict[str, Any]:
    """The pixels of a box that lie in the picture."""
    x1, y1, x2, y2 = np.round([box[0], box[1], box[0] + box[2], box[1] + box[3]]).astype(int)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    mask[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = 1
    return {"size": [HEIGHT, WIDTH], "counts": coco_mask.encode(mask)["counts"].decode()}


@pytest.fixture
def coco_set(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Annotations and records; boxes of 30 to 50 pixels around points near the border, three scores."""
    rng = np.random.default_rng(5)
    ids = [40, 7, 23, 11, 2, 35]
    images = [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in ids]
    objects, records = [], []
    for number in range(24):
        corner = rng.uniform([-25, -25], [WIDTH - 20, HEIGHT - 20]).round(1).tolist()
        entry = {"image_id": ids[number % 5], "category_id": (3, 9)[number % 2]}
        bbox = [*corner, *rng.uniform(30, 50, 2).round(1).tolist()]
        area, crowd = bbox[2] * bbox[3], int(number in (3, 8))
        objects.append(
            {**entry, "id": number + 1, "bbox": bbox, "area": area, "iscrowd": crowd}
            | {"segmentation": run_length(bbox)}
        )
        for _ in range(3):
            near = (np.array(bbox) + rng.normal(0, 4, 4)).round(1).tolist()
            score = float(rng.choice([0.3, 0.6, 0.9]))
            records.append({**entry, "bbox": near, "score": score, "segmentation": run_length(near)})
    content = {
        "images": images,
        "annotations": objects,
        "categories": [{"id": 9, "name": "ape"}, {"id": 3, "name": "bee"}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val").mkdir()
    for image in images:
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "val" / image["file_name"])
    file = tmp_path / "annotations" / "instances_val.json"
    file.write_text(json.dumps(content))
    (tmp_path / "found.json").write_text(json.dumps(records))
    return file, records


def test_every_figure_of_a_coco_set_is_the_headline(
    coco_set: tuple[Path, list], tmp_path: Path, reference_stats: Callable
):
    file, records = coco_set
    annotations = json.loads(file.read_text())
    result = score_predictions([str(tmp_path / "found.json")], f"coco:{file}", None, tmp_path, ALL)
    assert result is not None
    scores, stats = result["scores"], reference_stats(annotations, records)
    assert [scores["AP"], scores["AP50"]] == stats[:2]
    segm = reference_stats(annotations, records, "segm")
    assert [scores["segm/AP"], scores["segm/AP50"]] == segm[:2] and segm[0] != stats[0]
    assert 0.2 < scores["AP"] < 0.8
    interval, rows = result["interval"], {row["what"]: row["mAP"] for row in result["conventions"]}
    assert interval["figure"] == scores["AP"] and interval["low"] < scores["AP"] < interval["high"]
    assert rows["COCO AP: 101 recalls, IoU .5 to .95"] == scores["AP"]
    assert rows["COCO AP50: 101 recalls, IoU .5"] == scores["AP50"] == result["errors"]["AP50"]
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert np.mean([curve["AP"] for curve in curves.values()]) == pytest.approx(scores["AP50"], abs=1e-15)
    # The curves alone give the figure again: the best precision from each of 101 recalls on.
    for curve in curves.values():
        best = [
            max(
                (p for p, r in zip(curve["precision"], curve["recall"], strict=True) if r >= least), default=0
            )
            for least in np.linspace(0, 1, 101)
        ]
        assert np.mean(best) == curve["AP"]


def test_boxes_clipped_to_the_picture_would_score_otherwise(coco_set: tuple[Path, list], tmp_path: Path):
    file, records = coco_set
    dataset = CocoDataset(file, tmp_path)
    clipped = [dataset.load_target(index).boxes for index in range(len(dataset))]
    assert any((one != target.boxes).any() for one, target in zip(clipped, dataset.targets, strict=True))
    matched = Comparison(dataset, from_coco_records(records, dataset), records).coco
    assert matched.truth.boxes[:2].min() < 0
    # Rows stand by the pictures' ids, 2, 7, 11 …, and know where these are in the file.
    assert list(dict.fromkeys(matched.found.pictures.tolist())) == [4, 1, 3, 2, 0]


def test_the_worst_pictures_are_those_the_figure_counts(coco_set: tuple[Path, list], tmp_path: Path):
    file, _ = coco_set
    score_predictions([str(tmp_path / "found.json")], f"coco:{file}", None, tmp_path, ALL)
    names = sorted(path.name for path in (tmp_path / "false_alarms").iterdir())
    assert [name.split("_")[0] for name in names] == ["001", "002", "003"]
    assert all("_0.90_" in name for name in names)
    pictures = [int(Path(name.split("_")[3]).stem) for name in names]
    assert pictures == sorted(pictures)  # equal scores: by the pictures' ids


@pytest.mark.parametrize(
    ("method", "row"),
    [("area", "VOC2012: area under the curve, IoU .5"), ("11point", "VOC2007: 11 recalls, IoU .5")],
)
def test_every_figure_of_a_voc_set_is_the_headline(
    write_voc: Callable[..., Path], tmp_path: Path, method: str, row: str
):
    rng = np.random.default_rng(3)
    objects: dict[str, list] = {f"{name:06}": [] for name in (9, 4, 7, 1)}
    records = []
    for number in range(20):
        name, cls = list(objects)[number % 3], ("cat", "dog")[number % 2]
        x, y = rng.uniform(-30, 300, 2).round(1).tolist()
        objects[name].append((cls, (x + 1, y + 1, x + 90.3, y + 70.7), int(number in (4, 9))))
        for _ in range(3):
            box = (np.array([x, y, 90.3, 70.7]) + rng.normal(0, 12, 4)).round(1).tolist()
            ids = {"image_id": name, "category_id": VOC_CLASSES.index(cls) + 1}
            records.append({**ids, "bbox": box, "score": float(rng.choice([0.3, 0.6, 0.9]))})
    devkit, file = write_voc(objects), tmp_path / "found.json"
    for name in objects:
        Image.new("RGB", (353, 500)).save(devkit / "VOC2007" / "JPEGImages" / f"{name}.jpg")
    file.write_text(json.dumps(records))
    place = f"voc:{devkit / 'VOC2007'}:train"
    result = score_predictions([str(file)], place, method, tmp_path, ALL)  # type: ignore[arg-type]
    assert result is not None
    figure, rows = result["scores"]["mAP"], {r["what"]: r["mAP"] for r in result["conventions"]}
    assert 0.2 < figure < 0.8
    assert result["interval"]["figure"] == figure == rows[row]
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert {name: curve["AP"] for name, curve in curves.items()} == {
        name: ap for name, ap in result["class_ap"].items() if ap is not None
    }


def test_every_figure_of_ilsvrc_is_the_headline(coco_set: tuple[Path, list], tmp_path: Path):
    file, _ = coco_set
    options = ["metric=ilsvrc_det", f"data.pictures={tmp_path / 'val'}"]
    place = f"coco:{tmp_path}:{file.relative_to(tmp_path)}"
    result = score_predictions([str(tmp_path / "found.json")], place, None, tmp_path, ALL, overrides=options)
    assert result is not None and result["metric"] == "ilsvrc_det"
    figure = result["scores"]["mAP"]
    assert 0.2 < figure < 0.9 and result["interval"]["figure"] == figure
    assert result["interval"]["low"] < figure < result["interval"]["high"]
    curves = json.loads((tmp_path / "curves.json").read_text())
    assert {name: curve["AP"] for name, curve in curves.items()} == result["class_ap"]


def test_the_blacklist_counts_in_no_figure_of_ilsvrc(coco_set: tuple[Path, list], tmp_path: Path):
    file, records = coco_set
    dataset: Any = CocoDataset(file, tmp_path)
    found = from_coco_records(records, dataset)
    whole = score(found, dataset, "ilsvrc_det")["class_ap"]
    dataset.void_pairs = frozenset({(0, 1), (2, 2)})
    figures = score(found, dataset, "ilsvrc_det")
    assert all(figures["class_ap"][name] != whole[name] for name in whole)
    matches = class_matches(Comparison(dataset, found, records).matched(ILSVRC))
    assert mean_of(matches, ILSVRC) == figures["scores"]["mAP"]
    assert all(one.objects[index] == 0 for one, index in zip(matches, (0, 2), strict=True))
