"""Regions are drawn as R-CNN does, warped to squares, and know their targets."""

import numpy as np
import pytest
import torch

from detection.localization.box_lists import BoxLists, pack_lists
from detection.localization.localization_config import LocalizationData, RegionConfig
from detection.localization.one_class_pictures import OneClassPictures
from detection.localization.region_crops import BOX_WEIGHTS, DrawnRegions, draw_region, warp
from detection.model.boxes import decode_boxes
from training.loader import Item

OBJECTS = torch.tensor([[0.0, 0.0, 20.0, 20.0], [50.0, 50.0, 90.0, 90.0]])
# IoU with their objects: 0.81 with the first, 0.25 with the second, none.
REGIONS = torch.tensor([[0.0, 0.0, 18.0, 18.0], [70.0, 70.0, 90.0, 90.0], [30.0, 0.0, 45.0, 10.0]])


def test_a_warped_region_is_its_pixels():
    pixels = np.zeros((10, 12, 3), dtype=np.uint8)
    pixels[2:6, 4:8] = [10, 20, 30]
    (square,) = warp(pixels, torch.tensor([[4.2, 1.8, 8.4, 5.6]]), 8)  # 4, 2, 8, 6 in whole pixels
    assert square.shape == (3, 8, 8)
    assert square.flatten(1).unique(dim=1).tolist() == [[10], [20], [30]]


def test_regions_beyond_the_picture_keep_a_pixel():
    pixels = np.full((10, 12, 3), 7, dtype=np.uint8)
    squares = warp(pixels, torch.tensor([[11.9, 9.9, 30.0, 30.0], [-5.0, -5.0, 0.2, 0.2]]), 4)
    assert squares.shape == (2, 3, 4, 4) and (squares == 7).all()
    assert warp(pixels, torch.zeros(0, 4), 4).shape == (0, 3, 4, 4)


def test_a_quarter_of_the_regions_are_objects():
    drawn = [
        draw_region(np.random.default_rng(seed), REGIONS, OBJECTS, RegionConfig()) for seed in range(400)
    ]
    positive = [is_object for _, is_object, _ in drawn]
    assert 70 <= sum(positive) <= 130  # 100 expected, deviation 8.7
    for region, is_object, targets in drawn:
        if not is_object:
            assert region.tolist() in REGIONS[1:].tolist() and not targets.any()
            continue
        assert region.tolist() == REGIONS[0].tolist()
        torch.testing.assert_close(decode_boxes(targets, region, weights=BOX_WEIGHTS), OBJECTS[0])


def test_the_other_kind_is_taken_where_one_is_missing():
    rng = np.random.default_rng(0)
    all_objects = [draw_region(rng, OBJECTS, OBJECTS, RegionConfig())[1] for _ in range(20)]
    none = [draw_region(rng, REGIONS[1:], OBJECTS, RegionConfig(positive_fraction=1.0))[1] for _ in range(20)]
    assert all(all_objects) and not any(none)


@pytest.fixture
def proposals(two_pictures: OneClassPictures) -> BoxLists:
    """Of the dog its box moved by five pixels; of the cats one that meets neither."""
    moved, beside = torch.tensor([[5.0, 15.0, 65.0, 95.0]]), torch.tensor([[52.0, 0.0, 78.0, 100.0]])
    found = [(0, 2, moved, torch.tensor([0.9])), (1, 1, beside, torch.tensor([0.4]))]
    return pack_lists(list(map(str, two_pictures.image_ids)), two_pictures.classes, found, {})


def test_a_batch_of_regions(two_pictures: OneClassPictures, proposals: BoxLists):
    data = LocalizationData(kind="shapes", image_size=32, flip=False)
    regions = DrawnRegions(two_pictures, proposals, data, RegionConfig(positive_fraction=1.0))
    batch = regions.read([Item(0, 1), Item(1, 2), Item(0, 3)])
    assert batch.images.shape == (3, 3, 32, 32) and batch.labels.tolist() == [2, 1, 2]
    assert batch.ids == ["picture0", "picture1", "picture0"] and batch.positive.tolist() == [True] * 3
    again = regions.read([Item(0, 1), Item(1, 2), Item(0, 3)])
    assert torch.equal(batch.images, again.images) and torch.equal(batch.targets, again.targets)


def test_a_mirrored_region_has_mirrored_targets(two_pictures: OneClassPictures, proposals: BoxLists):
    options = RegionConfig(positive_fraction=1.0)
    flipped = DrawnRegions(two_pictures, proposals, LocalizationData(kind="shapes", image_size=32), options)
    mirrored = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        batch = flipped.read([Item(0, seed)])
        if rng.random() >= 0.5:  # the first number drawn decides
            continue
        region, _, targets = draw_region(
            rng,
            torch.cat([proposals.boxes[:1], two_pictures.load_target(0).boxes]),
            two_pictures.load_target(0).boxes,
            options,
        )
        assert batch.targets[0].tolist() == pytest.approx((targets * torch.tensor([-1, 1, 1, 1])).tolist())
        mirrored += 1
    assert mirrored >= 5


def test_a_batch_moves_with_all_its_tensors(two_pictures: OneClassPictures, proposals: BoxLists):
    data = LocalizationData(kind="shapes", image_size=32)
    batch = DrawnRegions(two_pictures, proposals, data, RegionConfig()).read([Item(0, 1)]).to("meta")
    assert {value.device.type for value in (batch.images, batch.labels, batch.positive, batch.targets)} == {
        "meta"
    }
    assert batch.ids == ["picture0"]
