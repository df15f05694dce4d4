"""A file read piece by piece has the same columns as its content, or is left to a reader of the whole."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictures.annotations import json_pieces
from pictures.annotations.coco_columns import columns_of, read_columns

Content = dict[str, Any]


@pytest.fixture
def large() -> Content:
    """100 pictures, 400 objects in disorder, a crowd among them."""
    rng = np.random.default_rng(0)
    images = [
        {"id": 3 * n, "file_name": f"{n}.jpg", "height": 40, "width": 60, "url": "x"} for n in range(100)
    ]
    annotations = [
        {
            "id": n + 1,
            "image_id": int(rng.integers(100)) * 3,
            "category_id": int(rng.integers(1, 4)),
            "bbox": rng.uniform(0, 20, 4).tolist(),
            "area": 5.5,
            "iscrowd": 0,
            "segmentation": [rng.uniform(0, 40, 8).round(2).tolist()],
        }
        for n in range(400)
    ]
    annotations[7] |= {"iscrowd": 1, "segmentation": {"size": [40, 60], "counts": [0, 2400]}}
    categories = [{"id": n, "name": f"class {n}"} for n in (3, 1, 2)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def write(folder: Path, content: Any) -> Path:
    file = folder / "a.json"
    file.write_text(json.dumps(content))
    return file


@pytest.mark.parametrize("masks", [False, True])
def test_pieces_are_the_content(tmp_path: Path, large: Content, masks: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(json_pieces, "_BLOCK", 2000)
    read = read_columns(write(tmp_path, large), masks=masks)
    assert read is not None
    given = columns_of(large, "a.json", masks=masks)  # in the order of the pictures
    order = np.argsort(read.pictures, kind="stable")
    assert read.categories == given.categories
    assert read.images == [{k: v for k, v in image.items() if k != "url"} for image in given.images]
    np.testing.assert_array_equal(read.pictures[order], given.pictures)
    np.testing.assert_array_equal(read.boxes[order], given.boxes)
    np.testing.assert_array_equal(read.crowd[order], given.crowd)
    assert [read.category_ids[row] for row in order] == list(given.category_ids)
    assert (read.masks is not None) == (given.masks is not None) == masks
    if read.masks is not None and given.masks is not None:
        assert [read.masks.read(row) for row in order] == [given.masks.read(row) for row in range(400)]


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("annotations", {"id": 1}),  # stands twice
        ("annotations", {"id": "7"}),
        ("annotations", {"id": 2**64}),
        ("annotations", {"image_id": 1}),
        ("annotations", {"image_id": True}),
        ("annotations", {"category_id": 9}),
        ("annotations", {"category_id": 1.0}),
        ("annotations", {"bbox": [1, 2, -3, 4]}),
        ("annotations", {"bbox": None}),
        ("annotations", {"area": -1}),
        ("annotations", {"iscrowd": 2}),
        ("annotations", {"segmentation": [[1, 2]]}),
        ("annotations", {"segmentation": None}),
        ("images", {"id": 0}),  # stands twice
        ("images", {"height": None}),
        ("images", {"file_name": ""}),
        ("categories", {"name": 5}),
        ("categories", {"id": 3}),  # stands twice
    ],
)
def test_what_is_wrong_or_unusual_is_left_to_a_reader_of_the_whole(
    tmp_path: Path, large: Content, section: str, change: Content
):
    assert read_columns(write(tmp_path, large), masks=True) is not None
    large[section][-1] |= change
    assert read_columns(write(tmp_path, large), masks=True) is None


def test_whole_numbers_written_as_floats_are_whole(tmp_path: Path, large: Content):
    before = read_columns(write(tmp_path, large), masks=True)
    large["images"][1] |= {"id": 3.0, "height": 40.0, "width": 60.0}
    large["categories"][0] |= {"id": 3.0}
    read = read_columns(write(tmp_path, large), masks=True)
    assert before is not None and read is not None
    # Equal numbers are not enough: 3.0 == 3, but a result file would say 3.0.
    assert repr((read.images, read.categories)) == repr((before.images, before.categories))


@pytest.mark.parametrize("missing", ["images", "annotations", "categories"])
def test_without_a_section(tmp_path: Path, large: Content, missing: str):
    del large[missing]
    assert read_columns(write(tmp_path, large), masks=False) is None
    if missing == "images":  # nor where no object asks for its picture
        assert read_columns(write(tmp_path, large | {"annotations": []}), masks=False) is None


def test_objects_before_their_pictures_and_no_objects(tmp_path: Path, large: Content):
    assert read_columns(write(tmp_path, dict(reversed(large.items()))), masks=False) is None
    empty = read_columns(write(tmp_path, large | {"annotations": []}), masks=True)
    assert empty is not None and empty.boxes.shape == (0, 4)


def test_no_file(tmp_path: Path, write_coco: Callable[..., Path]):
    assert read_columns(tmp_path / "none.json", masks=False) is None
    assert read_columns(write_coco(), masks=False) is not None
