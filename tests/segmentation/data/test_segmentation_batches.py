from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from foundation.errors import UserError
from segmentation.data.segmentation_batches import (
    LabelledPicture,
    LabelledPictures,
    collate,
    evaluation_batches,
    training_batches,
)
from segmentation.data.segmentation_sets import SegmentationData, open_set
from segmentation.types import IGNORED, Batch
from tests.segmentation.conftest import LabelWriter, save

MAPS = {"a": np.tile([[0, 1]], (10, 6)), "b": np.ones((8, 20)), "c": np.zeros((30, 9))}


@pytest.fixture
def pictures(write_folders: LabelWriter):
    data = SegmentationData(kind="folder", root=str(write_folders(MAPS)), crop=16)
    return lambda training: LabelledPictures(open_set(data, "all"), data, training=training)


def assert_equal(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.ids == b.ids
        for name in ("images", "labels", "sizes", "seeds"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_padding_is_below_and_right():
    small = LabelledPicture(
        torch.full((3, 1, 2), 9, dtype=torch.uint8), torch.tensor([[0, 1]]).byte(), 5, "s"
    )
    tall = LabelledPicture(torch.full((3, 3, 1), 8, dtype=torch.uint8), torch.ones(3, 1).byte(), 6, "t")
    batch = collate([small, tall])
    assert batch.labels.tolist() == [[[0, 1], [255, 255], [255, 255]], [[1, 255]] * 3]
    assert batch.images[:, 1].tolist() == [[[9, 9], [0, 0], [0, 0]], [[8, 0]] * 3]
    assert (batch.sizes.tolist(), batch.seeds.tolist(), batch.ids) == ([[1, 2], [3, 1]], [5, 6], ["s", "t"])
    assert collate([small], at_least=4).labels.shape == (1, 4, 4)


def test_training_batches_have_the_size_of_the_crop(pictures):
    batches = list(islice(training_batches(pictures(True), 3, seed=0), 8))
    assert {tuple(batch.images.shape) for batch in batches} == {(3, 3, 16, 16)}
    for batch in batches:
        for labels, (height, width) in zip(batch.labels, batch.sizes.tolist(), strict=True):
            assert (labels[:height, :width] != IGNORED).all()
            assert (labels[height:] == IGNORED).all() and (labels[:, width:] == IGNORED).all()
    sizes = torch.cat([batch.sizes for batch in batches])
    assert (sizes == 16).any() and (sizes < 16).any()


def test_workers_and_steps_change_nothing(pictures):
    first = list(islice(training_batches(pictures(True), 2, seed=4), 5))
    assert_equal(list(islice(training_batches(pictures(True), 2, seed=4, workers=2), 5)), first)
    assert_equal(list(islice(training_batches(pictures(True), 2, seed=4, start_step=3), 2)), first[3:])
    other = next(iter(training_batches(pictures(True), 2, seed=5)))
    assert not torch.equal(other.seeds, first[0].seeds)


def test_evaluation_sees_each_picture_as_its_file_has_it(pictures):
    batches = list(evaluation_batches(pictures(False), [2, 0]))
    assert [batch.ids for batch in batches] == [["c"], ["a"]]
    assert [tuple(batch.images.shape) for batch in batches] == [(1, 3, 30, 9), (1, 3, 10, 12)]
    assert np.array_equal(batches[1].labels[0], MAPS["a"])
    assert (batches[1].images - 128).float().abs().max() <= 2  # grey, but for JPEG's rounding


def test_unequal_sizes_are_one_clear_error(pictures):
    made = pictures(False)
    save(made.dataset.image_path(1), np.zeros((5, 20, 3)))
    with pytest.raises(
        UserError, match=r"b\.jpg: the picture is 5x20 \(height x width\), its label map 8x20"
    ):
        list(evaluation_batches(made, [1]))


def test_a_label_map_of_a_turned_picture_as_it_is_stored(pictures):
    made = pictures(False)
    stored = np.zeros((8, 20, 3), np.uint8)
    stored[:, :10] = 255
    image = Image.fromarray(stored)
    exif = image.getexif()
    exif[0x0112] = 6  # to be seen 20 high, 8 wide
    image.save(made.dataset.image_path(1), exif=exif, quality=95)
    batch = next(iter(evaluation_batches(made, [1])))
    assert batch.images.shape == (1, 3, 8, 20)
    assert (batch.images[0, :, :, :9] > 200).all() and (batch.images[0, :, :, 11:] < 50).all()
