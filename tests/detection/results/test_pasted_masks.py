"""Masks pasted into whole pictures."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from detection.results.pasted_masks import as_run_length, decode_mask, mean_masks, paste_masks, paste_means


def pasted(masks: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    found = paste_masks(masks, boxes, size)
    assert all(mask["size"] == list(size) and isinstance(mask["counts"], str) for mask in found)
    return np.stack([decode_mask(mask) for mask in found])


def sampled(masks: torch.Tensor, boxes: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """The definition: bilinear samples at the centres of all pixels, zeros around the mask."""
    x, y = torch.arange(size[1]).double() + 0.5, torch.arange(size[0]).double() + 0.5
    x0, y0, x1, y1 = boxes.double().unbind(dim=1)
    across = (x - x0[:, None]) / (x1 - x0)[:, None] * 2 - 1
    down = (y - y0[:, None]) / (y1 - y0)[:, None] * 2 - 1
    grid = torch.stack(
        [across[:, None, :].expand(-1, len(y), -1), down[:, :, None].expand(-1, -1, len(x))], dim=3
    )
    return F.grid_sample(masks[:, None].double(), grid, align_corners=False)[:, 0].numpy()


def random_masks(seed: int, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth blobs on 28 x 28 cells, and boxes that also stick out of the picture."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(20, 1, 5, 5, generator=generator)
    masks = F.interpolate(coarse, (28, 28), mode="bilinear")[:, 0]
    corner = torch.rand(20, 2, generator=generator) * torch.tensor(size[::-1]) - 10
    return masks, torch.cat([corner, corner + 1 + 80 * torch.rand(20, 2, generator=generator)], dim=1)


@pytest.mark.parametrize("seed", range(3))
def test_every_pixel_is_the_sample_at_its_centre(seed: int):
    masks, boxes = random_masks(seed, (90, 120))
    values = sampled(masks, boxes, (90, 120))
    found = pasted(masks, boxes, (90, 120))
    clear = abs(values - 0.5) > 1e-9
    assert clear.mean() > 0.99 and (found == (values >= 0.5))[clear].all()
    assert found.any(axis=(1, 2)).sum() > 10


def test_torchvisions_pasting_differs_only_at_edges():
    masks, boxes = random_masks(0, (90, 120))
    theirs = paste_masks_in_image(masks[:, None], boxes, (90, 120))[:, 0].numpy() >= 0.5
    ours = pasted(masks, boxes, (90, 120))
    assert (ours != theirs).mean() < 0.01 and (ours & theirs).sum() / (ours | theirs).sum() > 0.9


def test_worked_by_hand():
    # Two cells across a box of 4 pixels: centres lie at -0.25, 0.25, 0.75, 1.25 cells, so the values are
    # .75 * 1, .75 * 1, .25, 0 of the first row of cells; the second row of cells is empty.
    masks = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    found = pasted(masks, torch.tensor([[1.0, 1.0, 5.0, 5.0]]), (6, 7))[0]
    assert np.argwhere(found).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ([0, 0, 7, 6], (0, 6), (0, 7)),
        ([-3, -3, 20, 20], (0, 6), (0, 7)),
        ([2, 3, 3, 4], (3, 4), (2, 3)),
        ([1.4, 2.4, 3.6, 3.6], (2, 4), (1, 4)),
        ([1.6, 2, 2.4, 5], (0, 0), (0, 0)),
        ([9, 9, 12, 12], (0, 0), (0, 0)),
        ([2, 2, 2, 5], (0, 0), (0, 0)),
    ],
)
def test_a_full_mask_fills_the_pixels_whose_centre_is_in_the_box(box: list, rows: tuple, columns: tuple):
    expected = np.zeros((6, 7), dtype=bool)
    expected[slice(*rows), slice(*columns)] = True
    # Three cells, the outer ones far beyond 1, so that the taper to zero at the edge stays above 0.5.
    found = pasted(torch.full((1, 3, 3), 4.0), torch.tensor([box], dtype=torch.float32), (6, 7))[0]
    assert np.array_equal(found, expected)


def test_no_detections():
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (6, 7)) == []


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_run_lengths_are_pycocotools_own(height: int, width: int, seed: int):
    # As many cells as the box has pixels: every sample lies in the middle of a cell.
    side = max(height, width)
    cells = torch.rand(1, side, side, generator=torch.Generator().manual_seed(seed)).round()
    (found,) = paste_masks(cells, torch.tensor([[0.0, 0, side, side]]), (height, width))
    expected = np.asfortranarray(cells[0, :height, :width].numpy(), dtype=np.uint8)
    assert found["counts"].encode() == coco_mask.encode(expected)["counts"]


def test_polygons_and_numbers_become_one_run_length():
    polygons = [[0, 0, 2, 0, 2, 2, 0, 2], [4, 0, 6, 0, 6, 4, 4, 4]]
    expected = np.zeros((4, 6), dtype=bool)
    expected[:2, :2] = expected[:, 4:] = True
    assert np.array_equal(decode_mask(as_run_length(polygons, (4, 6))), expected)
    numbers = {"size": [4, 6], "counts": [0, 2, 2, 2, 10, 8]}
    from_numbers = as_run_length(numbers, (4, 6))
    assert np.array_equal(decode_mask(from_numbers), expected)
    assert as_run_length(from_numbers, (4, 6)) == from_numbers


def test_memory_is_bounded_by_the_box():
    # A tenth of a gigapixel: whole pictures of 50 detections would take 5 GB as bytes.
    boxes = torch.tensor([[100.0, 200, 140, 230]]).repeat(50, 1)
    found = paste_masks(torch.ones(50, 28, 28), boxes, (10_000, 10_000))
    assert coco_mask.area(found[0]) == 40 * 30


def test_means_by_hand():
    # Columns 0…3 with weight 3, columns 2…5 with weight 1: 0.75 left, 1 where both are, 0.25 right.
    masks, boxes = torch.ones(2, 2, 2), torch.tensor([[0.0, 0, 4, 2], [2, 0, 6, 2]])
    (mask,) = paste_means(masks, boxes, torch.tensor([3.0, 1]), [torch.tensor([0, 1])], (2, 7))
    # A grid's value holds to the middle of its outer cells and falls to one half at the box.
    assert decode_mask(mask).tolist() == [[True] * 4 + [False] * 3] * 2
    (mask,) = paste_means(masks, boxes, torch.tensor([1.0, 3]), [torch.tensor([1, 0])], (2, 7))
    assert decode_mask(mask).tolist() == [[False] * 2 + [True] * 4 + [False]] * 2


@pytest.mark.parametrize("seed", range(3))
def test_means_are_those_of_the_definition(seed: int):
    size = (70, 90)
    masks, boxes = random_masks(seed, size)
    weights = torch.rand(20, generator=torch.Generator().manual_seed(seed)) + 0.1
    objects = [torch.arange(20)[i::6] for i in range(6)]
    values = sampled(masks, boxes, size)
    found = paste_means(masks, boxes, weights, objects, size)
    for rows, mask in zip(objects, found, strict=True):
        mean = np.average(values[rows], axis=0, weights=weights[rows].double())
        certain = abs(mean - 0.5) > 1e-9
        assert np.array_equal(decode_mask(mask)[certain], (mean >= 0.5)[certain])


def test_the_mean_of_one_is_the_mask_itself():
    masks, boxes = random_masks(7, (70, 90))
    alone = [torch.tensor([row]) for row in range(20)]
    weights = torch.linspace(0.05, 0.97, 20)
    assert paste_means(masks, boxes, weights, alone, (70, 90)) == paste_masks(masks, boxes, (70, 90))
    assert paste_means(masks[:0], boxes[:0], weights[:0], [], (70, 90)) == []


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_of_whole_masks_by_the_definition(seed: int):
    rng, size = np.random.default_rng(seed), (30, 40)
    masks = rng.random((6, *size)) < rng.uniform(0, 1, (6, 1, 1))
    masks[4] = False  # a mask without pixels
    masks[:3, :, 25:] = masks[:3, :8] = False
    given_masks = [as_run_length(coco_run_length(mask), size) for mask in masks]
    weights = torch.from_numpy(rng.uniform(0.1, 1, 6))
    objects = [torch.tensor(rows) for rows in ([0, 1, 2], [3], [4], [5, 4], [2, 5, 3, 0])]
    found = mean_masks(given_masks, weights, objects, size)
    for rows, mask in zip(objects, found, strict=True):
        share = np.tensordot(weights[rows].numpy(), masks[rows.numpy()].astype(float), 1)
        whole = float(weights[rows].sum())
        clear = abs(share / whole - 0.5) > 1e-9
        assert (decode_mask(mask) == (share / whole >= 0.5))[clear].all() and mask["size"] == list(size)
    assert found[1:3] == given_masks[3:5]


def coco_run_length(mask: np.ndarray) -> dict:
    encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}
