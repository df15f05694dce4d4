"""Crops for the per-class RPN show an object, at the stated scales, and say where it is."""

import numpy as np
import torch

from detection.data.transforms import View
from detection.localization.localization_config import LocalizationData
from detection.localization.object_crops import LEAST_VISIBLE, ObjectCrops, crop_of_object, visible
from detection.localization.one_class_pictures import OneClassPictures
from pictures.decoding import load_image
from training.loader import Item

DATA = LocalizationData(kind="shapes", image_size=64)


def test_the_share_of_a_box_in_view():
    view = View((100, 140), (100, 140), (0, 0, 64, 64))
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0], [32.0, 32.0, 96.0, 64.0], [70.0, 0.0, 90.0, 20.0]])
    # All of the first, the left half of the second, nothing of the third.
    assert visible(boxes, view).tolist() == [1, 0.5, 0]


def test_every_crop_shows_an_object(two_pictures: OneClassPictures):
    target = two_pictures.load_target(1)
    low, high = DATA.jitter()
    for seed in range(50):
        view, seen = crop_of_object(target.size, target.boxes, DATA, np.random.default_rng(seed))
        assert seen.any() and view.shown == (64, 64)
        assert round(low) <= min(view.resized) <= round(high)
        assert (visible(target.boxes, view)[seen] >= LEAST_VISIBLE).all()


def test_a_tiny_object_is_found_although_random_windows_miss_it(two_pictures: OneClassPictures):
    wide = LocalizationData(kind="shapes", image_size=64, short_side=(600.0, 600.0))
    box = torch.tensor([[130.0, 90.0, 138.0, 98.0]])
    found = [crop_of_object((100, 140), box, wide, np.random.default_rng(seed)) for seed in range(10)]
    assert all(seen.tolist() == [True] for _, seen in found)
    whole = [float(visible(box, view)) > 0.99 for view, _ in found]
    assert sum(whole) >= 5  # a window laid around it shows all of it, one that met it by chance a part


def test_of_a_huge_object_the_part_that_fits_counts():
    wide = LocalizationData(kind="shapes", image_size=64, short_side=(600.0, 600.0))
    box = torch.tensor([[0.0, 0.0, 140.0, 100.0]])
    view, seen = crop_of_object((100, 140), box, wide, np.random.default_rng(0))
    assert seen.tolist() == [True] and float(visible(box, view)) < LEAST_VISIBLE


def test_pixels_and_boxes_are_of_the_same_view(two_pictures: OneClassPictures):
    crops = ObjectCrops(two_pictures, DATA)
    sample = crops.sample(Item(0, 5))
    target = two_pictures.load_target(0)
    view, seen = crop_of_object(target.size, target.boxes, DATA, np.random.default_rng(5))
    pixels = torch.from_numpy(load_image(two_pictures.image_path(0))).permute(2, 0, 1)
    assert torch.equal(sample.image, view.image(pixels))
    assert torch.equal(sample.boxes, view.boxes(target.boxes)[seen])
    assert sample.labels.tolist() == [2]


def test_a_batch_is_a_function_of_the_seeds(two_pictures: OneClassPictures):
    crops = ObjectCrops(two_pictures, DATA)
    first, again, other = (crops.read([Item(0, seed), Item(1, 9)]) for seed in (3, 3, 4))
    assert torch.equal(first.images, again.images) and torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.images[0], other.images[0]) and torch.equal(first.images[1], other.images[1])
    assert first.images.shape == (2, 3, 64, 64) and first.valid.any(dim=1).all()


def test_mirroring_can_be_left_out(two_pictures: OneClassPictures):
    target = two_pictures.load_target(0)
    still = LocalizationData(kind="shapes", image_size=64, flip=False)
    generators = [np.random.default_rng(seed) for seed in range(20)]
    assert not any(crop_of_object(target.size, target.boxes, still, rng)[0].mirrored for rng in generators)
    generators = [np.random.default_rng(seed) for seed in range(20)]
    mirrored = [crop_of_object(target.size, target.boxes, DATA, rng)[0].mirrored for rng in generators]
    assert 3 <= sum(mirrored) <= 17
