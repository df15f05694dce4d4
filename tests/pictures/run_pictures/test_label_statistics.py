"""Charts of labels for any number of classes and objects; what they show is looked at by people."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures.run_pictures.label_statistics import draw_box_statistics, draw_class_counts

NAMES = ["Größe", "кошка", "قطة", "猫", "_a$b$", "\x1b[1m"]


@pytest.mark.parametrize("number", [1, 6, 80, 1000])
def test_classes_are_counted(number: int, tmp_path: Path):
    classes = [NAMES[index % 6] + str(index) for index in range(number)]
    counts = {"training": np.arange(number), "validation": np.zeros(number, dtype=np.int64)}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", UserWarning
        )  # of glyphs that are missing, and of scales without values
        draw_class_counts(counts, classes, tmp_path / "labels", what="pictures")
    picture = Image.open(tmp_path / "labels.png")
    assert picture.height < 1200  # legible: not more than forty classes are named


@pytest.mark.parametrize("number", [0, 1, 500])
def test_boxes_are_described(number: int, tmp_path: Path):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (number, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.5, 50, (number, 2))], axis=1)
    counts = {"training": np.full(6, number), "validation": np.arange(6)}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        draw_box_statistics(
            counts, NAMES, boxes, np.full((number, 2), 100.0), tmp_path / "labels", of=f"{number} objects"
        )
    assert Image.open(tmp_path / "labels.png").width > 2000


def test_boxes_without_area_have_no_shape(tmp_path: Path):
    boxes = np.array([[5.0, 5, 5, 9], [1, 1, 1, 1]])
    counts = {"training": np.array([2])}
    draw_box_statistics(counts, ["a"], boxes, np.full((2, 2), 10.0), tmp_path / "labels", of="two objects")
    assert (tmp_path / "labels.png").is_file()
