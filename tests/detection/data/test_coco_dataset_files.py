"""Where the pictures of a COCO file lie, and what their files say that the annotations do not."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detection.data.coco_dataset import CocoDataset
from foundation.errors import UserError
from pictures.annotations.coco_checks import read_coco

Content = dict[str, Any]
TURNED = 6  # EXIF orientation: shown after a quarter turn to the right


def draw(path: Path, size: tuple[int, int], orientation: int = 1) -> None:
    """(width, height) as stored."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros(size[::-1], dtype=np.uint8)).save(path, exif=exif)


def write(folder: Path, images: list[Content], boxes: Sequence[list[float]] = ()) -> Path:
    """Objects of the first of `images`, in a file beside the folder `images`."""
    content = {
        "images": [{"id": number, **image} for number, image in enumerate(images, start=1)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "bbox": box}
            for number, box in enumerate(boxes, 1)
        ],
    }
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("name", ["sub\\a.jpg", "sub/A.JPG", "sub%2Fa.jpg"])
def test_a_picture_is_found_by_its_spelling(tmp_path: Path, name: str):
    draw(tmp_path / "images" / "sub" / "a.jpg", (6, 4))
    file = write(tmp_path, [{"file_name": name, "height": 4, "width": 6}])
    assert CocoDataset(file, tmp_path / "images").image_path(0) == tmp_path / "images" / "sub" / "a.jpg"


@pytest.mark.parametrize("stated", [{}, {"height": None, "width": None}, {"width": 4}, {"height": 6}])
def test_a_picture_without_a_size_has_that_of_its_file(
    tmp_path: Path, stated: Content, caplog: pytest.LogCaptureFixture
):
    draw(tmp_path / "images" / "a.jpg", (6, 4), TURNED)  # upright 4 wide and 6 high
    file = write(
        tmp_path, [{"file_name": "A.jpg", **stated}, {"file_name": "b.jpg", "height": 1, "width": 2}]
    )
    with caplog.at_level(logging.WARNING):
        dataset = CocoDataset(file, tmp_path / "images")
    assert dataset.image_sizes == [(6, 4), (1, 2)]
    assert f"{file} states no size of 1 picture: that of the file is taken" in caplog.text
    read = read_coco(file, tmp_path / "images")["images"]
    assert [(image["height"], image["width"]) for image in read] == [(6, 4), (1, 2)]


def test_without_a_size_and_a_picture_the_entry_is_refused(tmp_path: Path):
    file = write(tmp_path, [{"file_name": "a.jpg"}])
    with pytest.raises(UserError, match=r"images\[0\]: height, width missing"):
        CocoDataset(file, tmp_path)


@pytest.mark.parametrize(
    ("size", "boxes", "how"),
    [
        ((90, 60), [[10, 70, 20, 15]], "upright, as its EXIF orientation turns it"),
        ((90, 60), [[1, 1, 5, 5], [10, 50, 50, 40]], "upright, as its EXIF orientation turns it"),
        ((60, 90), [[70, 10, 15, 20]], "as it is stored, not turned by EXIF"),
    ],
)
def test_boxes_that_fit_only_the_turned_picture_are_refused(
    tmp_path: Path, size: tuple, boxes: list, how: str
):
    draw(tmp_path / "images" / "a.jpg", (90, 60), TURNED)
    width, height = size
    file = write(tmp_path, [{"file_name": "a.jpg", "height": height, "width": width}], boxes)
    with pytest.raises(
        UserError, match=f"a.jpg.*beyond the stated {width}x{height}, and fit the picture {how}"
    ):
        CocoDataset(file, tmp_path / "images")
    file = write(tmp_path, [{"file_name": "a.jpg", "height": width, "width": height}], boxes)
    assert len(CocoDataset(file, tmp_path / "images").targets[0].boxes) == len(boxes)


@pytest.mark.parametrize(
    ("orientation", "boxes"),
    [
        (TURNED, [[10, 30, 20, 31]]),  # one pixel beyond is rounding
        (TURNED, [[10, 70, 75, 15]]),  # does not fit turned either
        (TURNED, [[70, 10, 15, 20], [10, 70, 20, 15]]),  # one fits this way, one that
        (3, [[10, 70, 20, 15]]),  # upside down, of the same size
        (1, [[10, 70, 20, 15]]),
    ],
)
def test_other_boxes_beyond_the_border_are_read(tmp_path: Path, orientation: int, boxes: list):
    draw(tmp_path / "images" / "a.jpg", (90, 60), orientation)
    file = write(tmp_path, [{"file_name": "a.jpg", "height": 60, "width": 90}], boxes)
    assert CocoDataset(file, tmp_path / "images").targets[0].boxes.shape == (len(boxes), 4)


def test_without_the_file_nothing_is_said_of_its_turning(tmp_path: Path):
    file = write(tmp_path, [{"file_name": "a.jpg", "height": 60, "width": 90}], [[10, 70, 20, 15]])
    assert CocoDataset(file, tmp_path).targets[0].boxes.tolist() == [[10, 70, 30, 85]]
