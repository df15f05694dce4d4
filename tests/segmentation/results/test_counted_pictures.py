"""The counts of single pictures as a file: read as written, small, refused where they cannot be."""

from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from segmentation.data.segmentation_sets import SegmentationData, open_set
from segmentation.metrics.confusion_matrix import PictureCounts
from segmentation.results.counted_pictures import CountedPictures, load_counted_pictures, name_pictures
from tests.segmentation.conftest import LabelWriter

# Of "a" 3 of 4 pixels of each class are found; "b" has the first class alone, half of it found.
COUNTS = PictureCounts(np.array([[3, 3], [4, 0]]), np.array([[4, 4], [8, 0]]), np.array([[4, 4], [4, 4]]))
PICTURES = CountedPictures(["a", "b"], ["ground", "Straße"], "0123", COUNTS)


def test_what_is_read_is_what_was_written(tmp_path: Path):
    PICTURES.save(tmp_path / "new" / "per_picture.npz")
    read = load_counted_pictures(tmp_path / "new" / "per_picture.npz")
    assert (read.ids, read.classes, read.fingerprint) == (["a", "b"], ["ground", "Straße"], "0123")
    for ours, theirs in zip(read.counts, COUNTS, strict=True):
        assert ours.dtype == np.int64 and (ours == theirs).all()
    # 7 of 4 + 8 + 4 + 4 − 7 pixels of ground; 3 of 4 + 4 + 4 − 3 of the other.
    assert read.scores == {"mIoU": pytest.approx((7 / 13 + 3 / 9) / 2)}


@pytest.mark.parametrize(("largest", "bytes_each"), [(255, 1), (256, 2), (500 * 375, 4)])
def test_counts_take_no_more_room_than_they_need(tmp_path: Path, largest: int, bytes_each: int):
    counts = PictureCounts(*(np.full((1, 2), largest),) * 3)
    CountedPictures(["a"], ["ground", "thing"], "", counts).save(tmp_path / "per_picture.npz")
    with np.load(tmp_path / "per_picture.npz") as archive:
        assert archive["hits"].dtype == np.dtype(f"u{bytes_each}")
    assert (load_counted_pictures(tmp_path / "per_picture.npz").counts.truth == largest).all()


def test_no_picture(tmp_path: Path):
    nothing = PictureCounts(*(np.zeros((0, 2), dtype=np.int64),) * 3)
    CountedPictures([], ["ground", "thing"], "", nothing).save(tmp_path / "per_picture.npz")
    read = load_counted_pictures(tmp_path / "per_picture.npz")
    assert read.ids == [] and np.isnan(read.scores["mIoU"])


def test_the_pictures_are_those_of_the_set(write_folders: LabelWriter):
    dataset = open_set(SegmentationData("folder", str(write_folders({"b": [[0]], "a": [[1]]}))), "all")
    assert name_pictures(dataset, "0123", COUNTS) == CountedPictures(
        ["a", "b"], ["ground", "thing"], "0123", COUNTS
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hits", [[5, 3], [4, 0]]),  # more than there are
        ("hits", [[3, 3], [4, 1]]),  # of a class that is not there
        ("truth", [[4, 4], [9, 0]]),  # a pixel that nobody has predicted
        ("predicted", [[4, 4]]),
        ("ids", ["a"]),
        ("classes", ["ground"]),
    ],
)
def test_impossible_counts_are_refused(tmp_path: Path, name: str, value: list):
    file = tmp_path / "per_picture.npz"
    PICTURES.save(file)
    with np.load(file) as archive:
        arrays = dict(archive)
    np.savez(file, **(arrays | {name: np.array(value, dtype=arrays[name].dtype)}))
    with pytest.raises(UserError, match="npz: its counts do not fit together; expected what tools/eval_seg"):
        load_counted_pictures(file)


def test_another_file_is_refused(tmp_path: Path):
    np.savez(tmp_path / "x.npz", ids=np.array(["a"]))
    with pytest.raises(UserError, match=r"x.npz: is damaged or of another kind .*; score the weights again"):
        load_counted_pictures(tmp_path / "x.npz")
