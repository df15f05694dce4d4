import numpy as np
import pytest
import torch

from detection.data.annotations import PackedObjects


@pytest.fixture
def packed() -> PackedObjects:
    """Two objects in picture 0, none in 1, one in 2, none in 3."""
    return PackedObjects.pack(
        image_index=np.array([0, 0, 2]),
        boxes=np.arange(12, dtype=np.float64).reshape(3, 4),
        labels=np.array([3, 1, 2]),
        ignore=np.array([False, True, False]),
        image_ids=["a", "b", 7, "d"],
        image_sizes=[(5, 6), (7, 8), (9, 10), (1, 1)],
    )


def test_rows_by_picture(packed: PackedObjects):
    # Counts 2, 0, 1, 0 sum up to 0, 2, 2, 3, 3.
    assert packed.starts.tolist() == [0, 2, 2, 3, 3]
    assert len(packed.target(0).labels) == 2
    assert len(packed.target(3).labels) == 0


def test_targets(packed: PackedObjects):
    first, second, third = (packed.target(index) for index in range(3))
    assert first.boxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert (first.labels.tolist(), first.ignore.tolist()) == ([3, 1], [False, True])
    assert (first.image_id, first.size) == ("a", (5, 6))
    assert (second.boxes.shape, second.image_id, second.size) == ((0, 4), "b", (7, 8))
    assert (third.labels.tolist(), third.image_id, third.size) == ([2], 7, (9, 10))
    assert isinstance(third.size[0], int)


def test_a_target_is_a_copy(packed: PackedObjects):
    packed.target(0).boxes.zero_()
    assert packed.target(0).boxes.sum() > 0


def test_no_pictures():
    empty = np.zeros(0, dtype=np.int64)
    packed = PackedObjects.pack(empty, np.zeros((0, 4), np.float64), empty, empty.astype(bool), [], [])
    assert packed.starts.tolist() == [0]
    assert packed.sizes.shape == (0, 2)


def test_pictures_without_any_object():
    empty = np.zeros(0, dtype=np.int64)
    packed = PackedObjects.pack(
        empty, np.zeros((0, 4), np.float64), empty, empty.astype(bool), [1, 2], [(3, 4)] * 2
    )
    target = packed.target(1)
    assert (target.boxes.dtype, target.labels.dtype, target.ignore.dtype) == (
        torch.float64, torch.int64, torch.bool,
    )  # fmt: skip
    assert len(target.boxes) == 0
