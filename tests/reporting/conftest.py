"""Run folders by hand: what trainings and evaluations leave behind, without training."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from classification.config import PretrainConfig
from detection.config import DetectionConfig
from detection.data.dataset_splits import open_dataset
from detection.results.metrics_by_name import score
from detection.results.result_records import from_coco_records
from training.config import dump_config, load_config

EVIL = "<script>alert(1)</script>"
NAMES = ["ring & star", EVIL, "Straße"]


def run_length(box: list[float]) -> dict:
    """The mask of a whole box in a picture of 80 x 100 pixels."""
    x, y, width, height = map(round, box)
    pixels = np.zeros((80, 100), dtype=np.uint8, order="F")
    pixels[y : y + height, x : x + width] = 1
    encoded = coco_mask.encode(pixels)
    return {**encoded, "counts": encoded["counts"].decode()}


@pytest.fixture
def classifier_run(tmp_path: Path) -> Callable[..., Path]:
    """classifier_run(name, *overrides, ended=True): a pretraining on class folders, scored on 40 pictures."""

    def write(name: str, *overrides: str, ended: bool = True) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        chosen = ["model.name=resnet18", "data.kind=folder", "data.root=pictures", "schedule.total_steps=40"]
        config = load_config(PretrainConfig, None, [*chosen, *overrides])
        (folder / "config.yaml").write_text(dump_config(config))
        lines = [{"step": s, "loss": 3 / s, "top1_error": 100 / s, "lr": 0.1 / s} for s in range(1, 41)]
        lines += [{"step": 20, "val/loss": 1.5, "val/top1_error": 30.0}]
        scores = {"top1_error": 25.0, "loss": 0.75}
        lines += [{"step": 40} | {f"val/{key}": value for key, value in scores.items()}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if ended:
            errors = dict(zip(NAMES, (0.0, 50.0, None), strict=True))
            best = {"step": 40, "error": 25.0}
            result = {"step": 40, "pictures": 40, "scores": scores, "class_top1_error": errors, "best": best}
            (folder / "result.json").write_text(json.dumps(result))
        return folder

    return write


@pytest.fixture
def coco_set(tmp_path: Path) -> Path:
    """A COCO set of 8 pictures with two objects each, of two classes; the third has none."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "pictures").mkdir()
    images, objects = [], []
    for number in range(1, 9):
        file = root / "pictures" / f"{number}.png"
        Image.fromarray(np.full((80, 100, 3), 20 * number, np.uint8)).save(file)
        images.append({"id": number, "file_name": str(file), "height": 80, "width": 100})
        for place, box in enumerate(([5.0, 5.0, 30.0, 30.0], [50.0, 30.0, 40.0, 40.0])):
            entry = {"id": len(objects) + 1, "image_id": number, "category_id": place + 1, "bbox": box}
            x, y, width, height = box
            outline = [x, y, x + width, y, x + width, y + height, x, y + height]
            objects.append({**entry, "area": width * height, "iscrowd": 0, "segmentation": [outline]})
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)]
    content = {"images": images, "annotations": objects, "categories": categories}
    (root / "annotations" / "instances_val.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def detector_run(tmp_path: Path, coco_set: Path) -> Callable[..., Path]:
    """detector_run(name, shift, *overrides): a training whose boxes lie up to so many pixels away."""

    def write(name: str, shift: float, *overrides: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        chosen = [f"data.root={coco_set}", "data.train=val", "data.val=val", "backbone.name=resnet18"]
        config = load_config(DetectionConfig, None, [*chosen, "schedule.total_steps=20", *overrides])
        (folder / "config.yaml").write_text(dump_config(config))
        truth = json.loads((coco_set / "annotations" / "instances_val.json").read_text())["annotations"]
        rng = np.random.default_rng(0)
        records = []
        for entry in truth:
            x, y, width, height = entry["bbox"]
            move = (shift * rng.random(2)).tolist()
            found = {"image_id": entry["image_id"], "category_id": entry["category_id"]}
            box = [x + move[0], y + move[1], width, height]
            records.append({**found, "bbox": box, "score": float(rng.uniform(0.3, 0.9))})
        records.append({"image_id": 1, "category_id": 2, "bbox": [0.0, 60.0, 10.0, 10.0], "score": 0.95})
        if config.detector.mask:
            for record in records:
                record["segmentation"] = run_length(record["bbox"])
        (folder / "predictions.json").write_text(json.dumps(records))
        dataset = open_dataset(config.data, "val", masks=config.detector.mask)
        result = score(from_coco_records(records, dataset), dataset, config.metric)
        lines = [
            {"step": s, "loss_rpn_box": 1 / s, "loss_roi_class": 2 / s, "lr": 0.02} for s in range(1, 21)
        ]
        lines += [{"step": 20} | {f"val/{name}": value for name, value in result["scores"].items()}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        best = {"step": 20, "error": -0.5}
        (folder / "result.json").write_text(json.dumps({"step": 20, **result, "best": best}))
        return folder

    return write
