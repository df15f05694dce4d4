"""Files for the evaluation servers, read back as their tools read them."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from detection.results.submission import write_submission
from detection.types import Prediction
from foundation.errors import UserError

DATASET: Any = SimpleNamespace(classes=["cat", "dog"], category_ids=[17, 18])


def prediction(name: str | int, boxes: list, labels: list[int], scores: list[float], masks: Any = None):
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Prediction(tensor, torch.tensor(labels, dtype=torch.int64), torch.tensor(scores), name, masks)


FOUND = [
    prediction("2008_000001", [[0, 0, 10, 20.5], [3, 4, 50, 60]], [2, 2], [0.75, 0.1]),
    prediction("2008_000002", [], [], []),
]


def test_vocs_files(tmp_path: Path):
    files = write_submission(FOUND, DATASET, "voc", "2012:test", tmp_path)
    folder = tmp_path / "results" / "VOC2012" / "Main"
    assert files == [folder / "comp4_det_test_cat.txt", folder / "comp4_det_test_dog.txt"]
    assert files[0].read_text() == ""
    rows = [line.split() for line in files[1].read_text().splitlines()]
    assert [row[0] for row in rows] == ["2008_000001"] * 2
    # Picture, score, then corners counted from 1, the last pixel inside.
    assert [[float(value) for value in row[1:]] for row in rows] == [
        [0.75, 1, 1, 10, 20.5],
        [pytest.approx(0.1, abs=1e-8), 4, 5, 50, 60],
    ]


def stop_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the writing of files before the one of this number, from 0 on."""
    replace = os.replace
    count = iter(range(100))

    def stop(*arguments: Any) -> None:
        if next(count) == number:
            raise KeyboardInterrupt
        replace(*arguments)

    monkeypatch.setattr(os, "replace", stop)


def test_a_stopped_call_does_not_leave_files_of_two_networks(tmp_path, monkeypatch):
    files = write_submission(FOUND, DATASET, "voc", "2012:test", tmp_path)
    masked = [prediction(7, [[0, 0, 2, 2]], [1], [0.5], [{"size": [2, 2], "counts": "04"}])]
    coco = write_submission(masked, DATASET, "coco", "val", tmp_path)
    with monkeypatch.context() as patch:
        stop_at(1, patch)
        with pytest.raises(KeyboardInterrupt):
            write_submission(FOUND, DATASET, "voc", "2012:test", tmp_path)
    assert [file.exists() for file in files] == [True, False]
    with monkeypatch.context() as patch:
        stop_at(1, patch)
        with pytest.raises(KeyboardInterrupt):
            write_submission(masked, DATASET, "coco", "val", tmp_path)
    assert [file.exists() for file in coco] == [True, False]


@pytest.mark.parametrize(
    ("split", "place", "text"),
    [
        ("2007:test+2012:test", "out", "one split, got data.val=2007:test\\+2012:test"),
        ("2012:test", "out.txt", "must be a folder for the files of VOC's classes, got .*out.txt"),
    ],
)
def test_what_vocs_server_would_not_take(tmp_path: Path, split: str, place: str, text: str):
    with pytest.raises(UserError, match=text):
        write_submission(FOUND, DATASET, "voc", split, tmp_path / place)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["", "mine.json"])
def test_cocos_files(tmp_path: Path, place: str):
    mask = {"size": [4, 6], "counts": "842"}
    found = [prediction(7, [[1, 2, 3, 5]], [1], [0.5], [mask])]
    files = write_submission(found, DATASET, "coco", "test-dev2017", tmp_path / place)
    names = (
        ["mine.json", "mine-masks_results.json"]
        if place
        else [f"detections_test-dev2017_residual-backbones{part}_results.json" for part in ("", "-masks")]
    )
    assert files == [tmp_path / name for name in names]
    entry = {"image_id": 7, "category_id": 17, "score": 0.5}
    boxes, masks = (json.loads(file.read_text()) for file in files)
    assert boxes == [{**entry, "bbox": [1, 2, 2, 3]}] and masks == [{**entry, "segmentation": mask}]
    without = write_submission([prediction(7, [], [], [])], DATASET, "coco", "val", tmp_path / "none")
    assert [json.loads(file.read_text()) for file in without] == [[]]


@pytest.mark.parametrize("split", ["2012:test", "../../2012:../../test"])
def test_nothing_is_written_outside(tmp_path: Path, split: str):
    strange: Any = SimpleNamespace(classes=["../../../cat", "A", "a"], category_ids=[1, 2, 3])
    place = tmp_path / "deep" / "er" / "out"
    files = write_submission(FOUND, strange, "voc", split, place)
    files += write_submission(FOUND, strange, "coco", split, place)
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert sorted(written) == sorted(files) and all(file.is_relative_to(place) for file in files)
    if split == "2012:test":
        names = ["comp4_det_test_..-..-..-cat.txt", "comp4_det_test_A.txt", "comp4_det_test_a~2.txt"]
        assert [file.name for file in files[:3]] == names
