import numpy as np
import pytest
import torch

from segmentation.data.crop_augmentation import CropView, evaluated_size, random_view, scaled_by
from segmentation.data.segmentation_sets import SegmentationData


def test_a_window_of_the_file_itself():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    pixels = np.stack([labels] * 3, axis=2)
    view = CropView((3, 4), top=1, left=1, shown=(2, 3), mirrored=False)
    assert view.labels(labels).tolist() == [[5, 6, 7], [9, 10, 11]]
    assert torch.equal(view.image(pixels)[0], view.labels(labels))
    mirrored = CropView((3, 4), top=1, left=1, shown=(2, 3), mirrored=True)
    assert mirrored.labels(labels).tolist() == [[7, 6, 5], [11, 10, 9]]
    assert torch.equal(mirrored.image(pixels)[2], mirrored.labels(labels))


def test_labels_are_those_under_the_centres():
    labels = np.array([[1, 2, 3, 4]], dtype=np.uint8)
    # Twice as wide: centres .25, .75 … of the file's pixels. Half as wide: centres 1 and 3, the borders.
    assert CropView((2, 8), 0, 0, (2, 8), False).labels(labels).tolist() == [[1, 1, 2, 2, 3, 3, 4, 4]] * 2
    assert CropView((1, 2), 0, 0, (1, 2), False).labels(labels).tolist() == [[2, 4]]
    assert CropView((1, 8), 0, 3, (1, 3), False).labels(labels).tolist() == [[2, 3, 3]]


@pytest.mark.parametrize("resized", [(31, 47), (90, 122), (60, 80)])
def test_picture_and_labels_stay_together(resized: tuple[int, int]):
    """A bright disc is where its label is: the shares of misplaced pixels are those of its edge."""
    rows, columns = np.indices((60, 80))
    labels = ((rows - 25) ** 2 + (columns - 50) ** 2 < 200).astype(np.uint8)
    pixels = np.stack([labels * 255] * 3, axis=2)
    for mirrored in (False, True):
        view = CropView(resized, 5, 9, (22, 30), mirrored)
        image, seen = view.image(pixels)[0], view.labels(labels)
        assert image.shape == seen.shape == (22, 30)
        assert ((image > 127) != (seen == 1)).float().mean() < 0.02


def test_views_are_random_by_seed_alone():
    data = SegmentationData(crop=40)
    views = [random_view((50, 100), data, seed) for seed in range(200)]
    assert views == [random_view((50, 100), data, seed) for seed in range(200)]
    factors = [view.resized[1] / 100 for view in views]
    assert 0.5 <= min(factors) < 0.55 and 1.95 < max(factors) <= 2.0
    assert 70 < sum(view.mirrored for view in views) < 130
    for view in views:
        assert view.shown == (min(40, view.resized[0]), min(40, view.resized[1]))
        assert 0 <= view.top <= view.resized[0] - view.shown[0]
        assert 0 <= view.left <= view.resized[1] - view.shown[1]
    assert len({view.left for view in views}) > 50
    # Both ends of the window's range are reached.
    small = SegmentationData(crop=3, scale=(1.0, 1.0), flip=False)
    ends = {random_view((4, 3), small, seed).top for seed in range(50)}
    assert ends == {0, 1}


def test_without_chance_the_whole_picture_is_seen():
    data = SegmentationData(crop=100, scale=(1.0, 1.0), flip=False)
    assert random_view((50, 100), data, 7) == CropView((50, 100), 0, 0, (50, 100), False)


def test_sizes():
    assert scaled_by((5, 101), 0.1) == (1, 10) and scaled_by((1, 1), 0.1) == (1, 1)
    assert evaluated_size((50, 100), None) == (50, 100)
    assert evaluated_size((50, 100), 25) == (25, 50)
    short = SegmentationData(short_side=25, scale=(2.0, 2.0), crop=500)
    assert random_view((50, 100), short, 0).resized == (50, 100)
