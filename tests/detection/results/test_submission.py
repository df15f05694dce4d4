"""Files for the evaluation servers, read back as their tools read them."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from detection.results.submission import write_localization_submission, write_submission
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


@pytest.mark.parametrize("place", ["", "mine.txt"])
@pytest.mark.parametrize("kind", ["imagenet_det", "shapes_det"])
def test_ilsvrcs_file(tmp_path: Path, place: str, kind: str):
    found = [*FOUND[::-1], prediction("2008_000003", [[1, 2, 4, 8]], [1], [1.0])]
    files = write_submission(found, DATASET, kind, "val2", tmp_path / place)
    assert files == [tmp_path / (place or "detections_val2_residual-backbones.txt")]
    # Place in the list, number of the class, score, then corners from 0, the last pixel inside.
    assert files[0].read_text().splitlines() == [
        "2 18 0.750000000 0.000000 0.000000 9.000000 19.500000",
        "2 18 0.100000001 3.000000 4.000000 49.000000 59.000000",
        "3 17 1.000000000 1.000000 2.000000 3.000000 7.000000",
    ]
    with pytest.raises(UserError, match="one split, got data.val=train\\+val1"):
        write_submission(found, DATASET, kind, "train+val1", tmp_path)


class Localized(SimpleNamespace):
    """Three pictures, not in the order of their files' names; the classes by WordNet id, unlike the kit."""

    classes = ["n01", "n02"]
    category_ids = [2, 1]

    def image_path(self, index: int) -> Path:
        return Path("Data") / ["val_3.JPEG", "val_1.JPEG", "val_2.JPEG"][index]


GUESSES = [
    prediction("val_3", [[0, 0, 10, 20]], [1], [0.1]),
    prediction("val_1", [[n, n, n + 2, n + 3] for n in range(6)], [2, 1, 2, 1, 2, 1], [0.1] * 6),
    prediction("val_2", [[1, 2, 3.5, 4], [0, 0, 1, 1]], [1, 2], [0.1, 0.9]),
]


def test_the_localization_tasks_file(tmp_path: Path):
    dataset: Any = Localized()
    write_localization_submission(GUESSES, dataset, tmp_path / "out.txt")
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert [[float(number) for number in line.split()] for line in lines] == [
        # Five of six guesses of val_1.
        [1, 0, 0, 1, 2, 2, 1, 1, 2, 3, 1, 2, 2, 3, 4, 2, 3, 3, 4, 5, 1, 4, 4, 5, 6],
        [2, 1, 2, 2.5, 3, 1, 0, 0, 0, 0],
        [2, 0, 0, 9, 19],
    ]
    assert lines[2].split()[0] == "2"  # a whole number


def test_kaggles_form_of_it(tmp_path: Path):
    dataset: Any = Localized()
    write_localization_submission(GUESSES, dataset, tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["ImageId", "val_3", "val_1", "val_2"]
    assert lines[0] == "ImageId,PredictionString"
    assert lines[1] == "val_3,n01 0.000000 0.000000 9.000000 19.000000"
    assert lines[2].count("n01") == 2 and lines[2].count("n02") == 3
    assert lines[3].startswith("val_2,n01 1.000000 2.000000 2.500000 3.000000 n02 0.000000")


def test_a_picture_without_a_guess_has_no_line(tmp_path: Path):
    dataset: Any = Localized()
    guesses = [GUESSES[0], prediction("val_1", [], [], []), GUESSES[2]]
    with pytest.raises(UserError, match="val_1.JPEG has no guess"):
        write_localization_submission(guesses, dataset, tmp_path / "out.txt")
    assert not list(tmp_path.iterdir())
