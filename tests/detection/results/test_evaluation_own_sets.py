"""Result files scored on sets in the layouts of other programs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.mask import encode

from detection.results.detection_report import ReportOptions
from detection.results.evaluation import evaluate
from foundation.errors import UserError

# A box of 10 x 5 pixels at (5, 2.5) of a picture of 20 x 10, of a cat in the one and a dog in the other.
FILES = {
    "images/train/t.jpg": None,
    "images/valid/a.jpg": None,
    "images/valid/b.jpg": None,
    "labels/train/t.txt": "0 0.5 0.5 0.5 0.5",
    "labels/valid/a.txt": "0 0.5 0.5 0.5 0.5",
    "labels/valid/b.txt": "1 0.5 0.5 0.5 0.5",
    "classes.txt": "cat\ndog\n",
}
BOX = [5, 2.5, 10, 5]


@pytest.fixture
def score(place: Callable, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """score(result file's content, *overrides, split=…, method=…, out=…) on the set of `FILES`."""
    root, file = place(FILES), tmp_path / "found.json"

    def run(content: Any, *overrides: str, split: str = "", out: Path | None = None, **asked: Any) -> Any:
        file.write_text(json.dumps(content))
        of_weights: dict[str, Any] = {"weights": None, "without": [], "overrides": overrides}
        options = asked.pop("options", ReportOptions())
        given = {"predictions": [str(file)], "dataset": f"yolo:{root}{split}", "out": out, "options": options}
        return evaluate(**given, **of_weights, **{"method": None, **asked})

    return run


def record(image: Any, category: int) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": BOX, "score": 0.9}


def test_ids_are_those_of_a_training(score: Callable):
    found = [record("images/valid/a.jpg", 1), record("images/valid/b.jpg", 1)]
    # The cat is found first in the order of the pictures, the dog is not.
    for split in ("", ":val", ":valid"):
        result = score(found, split=split)
        assert (result["metric"], result["class_ap"]) == ("coco", {"cat": pytest.approx(1), "dog": 0})
    assert score(found, method="area")["scores"] == {"mAP": pytest.approx(0.5)}
    assert score(found, "metric=voc07")["metric"] == "voc07"
    assert score([record("images/train/t.jpg", 1)], split=":train")["class_ap"]["cat"] == pytest.approx(1)
    # Now both are dogs: the first is a false alarm, the second finds the only dog.
    turned = score(found, "data.classes=[dog, cat]")
    assert turned["class_ap"] == {"dog": pytest.approx(0.5), "cat": 0}


def test_masks_without_boxes(score: Callable, tmp_path: Path):
    """Rows 2 to 6 of columns 5 to 14: the box 5 2 10 5, of which 45 pixels lie in the truth's 50."""
    mask = np.zeros((10, 20), dtype=np.uint8, order="F")
    mask[2:7, 5:15] = 1
    run_length = encode(mask)
    outline = {"size": run_length["size"], "counts": run_length["counts"].decode()}
    found = [
        {"image_id": f"images/valid/{name}.jpg", "category_id": label, "score": 0.9, "segmentation": outline}
        for name, label in (("a", 1), ("b", 2))
    ]
    assert score(found, method="area")["scores"] == {"mAP": pytest.approx(1)}
    explained = score(found, out=tmp_path / "out", options=ReportOptions(explain=True, report=True))
    assert explained["scores"]["AP50"] == pytest.approx(1)


@pytest.mark.parametrize("folder", ["images/valid/", ""])
def test_pictures_listed_by_name_below_root_or_their_folder(score: Callable, folder: str):
    content = {
        "images": [{"id": 7, "file_name": f"{folder}a.jpg"}, {"id": 8, "file_name": f"{folder}b.jpg"}],
        "annotations": [record(7, 1), record(8, 2)],
    }
    assert score(content)["scores"]["AP"] == pytest.approx(1)


def test_the_report_is_written(score: Callable, tmp_path: Path):
    out = tmp_path / "report"
    score([record("images/valid/a.jpg", 2)], out=out, options=ReportOptions(report=True))
    assert {"result.json", "curves.json", "confusion.csv", "misses"} <= {path.name for path in out.iterdir()}


def test_wrong_inputs(score: Callable):
    with pytest.raises(UserError, match="has no split 'vlaid'; did you mean 'valid'"):
        score([], split=":vlaid")
    with pytest.raises(UserError, match="rpn.channels=4 belongs to --weights; --predictions takes metric"):
        score([], "rpn.channels=4")
    with pytest.raises(UserError, match="--method area and metric=coco both choose the metric"):
        score([], "metric=coco", method="area")
    with pytest.raises(UserError, match=r"found.json: record 0: image_id 3 is not in"):
        score([record(3, 1)])
