"""Pooling is compared with torchvision's op, level by level and picture by picture."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

from detection.heads import roi_pooling
from detection.heads.roi_pooling import (
    _pool_by_kernel,
    _sum_of_columns,
    _weighted_rows,
    mask_targets,
    pool_regions,
    region_levels,
)

STRIDES = (4, 8, 16, 32)


def maps(strides: Sequence[int], channels: int = 3) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(2, channels, 96 // s, 160 // s, generator=draw).requires_grad_() for s in strides]


def regions(count: int, seed: int = 0) -> Tensor:
    """Boxes of 1 to 700 pixels a side, many of them partly or wholly outside; some empty."""
    draw = torch.Generator().manual_seed(seed)
    centre = torch.rand(2, count, 2, generator=draw) * torch.tensor([300, 240]) - 70
    scale, ratio = torch.rand(2, count, 1, generator=draw), torch.rand(2, count, 2, generator=draw)
    half = torch.exp(6 * scale + 0.6 * ratio) / 2
    half[:, ::9] = 0
    return torch.cat([centre - half, centre + half], dim=2)


def expected_pool(
    features: list[Tensor], strides: Sequence[int], boxes: Tensor, size: int, ratio: int, aligned: bool
) -> Tensor:
    levels = region_levels(boxes, strides).flatten()
    pooled = [
        roi_align(f, list(boxes), size, 1 / s, sampling_ratio=ratio, aligned=aligned)
        for f, s in zip(features, strides, strict=True)
    ]
    return torch.stack(pooled)[levels, torch.arange(len(levels))]


@pytest.mark.parametrize("strides", [(16,), (8,), STRIDES], ids=str)
@pytest.mark.parametrize(
    ("size", "ratio", "aligned"), [(7, 2, True), (14, 2, True), (3, 1, True), (2, 3, True), (7, 2, False)]
)
def test_equal_to_torchvision_with_gradients(strides: Sequence[int], size: int, ratio: int, aligned: bool):
    features, boxes = maps(strides), regions(40)
    pooled = pool_regions(features, strides, boxes, size, sampling_ratio=ratio, aligned=aligned)
    expected = expected_pool(features, strides, boxes, size, ratio, aligned)
    assert pooled.shape == (80, 3, size, size)
    torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-5)
    draw = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(pooled, features, draw, materialize_grads=True)
    for gradient, other in zip(gradients, torch.autograd.grad(expected, features, draw), strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5, atol=1e-4)
        assert other.any()


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("strides", [(16,), STRIDES], ids=str)
def test_the_way_of_the_gpu_is_the_same(strides: Sequence[int], aligned: bool):
    features, boxes = maps(strides), regions(40)
    boxes = torch.cat([boxes, torch.tensor([[-500.0, -500, -400, -400]]).expand(2, 1, 4)], dim=1)
    pooled = _pool_by_kernel(features, strides, boxes, region_levels(boxes, strides), 7, 2, aligned)
    expected = pool_regions(features, strides, boxes, 7, aligned=aligned)
    torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-5)


def test_rows_are_summed_alike_where_no_kernel_is():
    draw = torch.Generator().manual_seed(0)
    table = torch.randn(40, 5, generator=draw, requires_grad=True)
    index, weights = torch.randint(0, 40, (30, 16), generator=draw), torch.rand(30, 16, generator=draw)
    weights[:, ::3] = 0
    with_kernel, without = _weighted_rows(table, index, weights), _sum_of_columns(table, index, weights)
    torch.testing.assert_close(with_kernel, without)
    torch.testing.assert_close(without, (table[index] * weights[..., None]).sum(dim=1))
    upstream = torch.randn(30, 5, generator=draw)
    gradients = [torch.autograd.grad(pooled, table, upstream)[0] for pooled in (with_kernel, without)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("device", "compiled", "expected"),
    [
        ("cpu", True, False),  # ours is faster
        ("mps", True, False),  # the backward kernel is wrong in some releases
        ("cuda", True, True),
        ("xpu", True, True),
        ("xpu", False, False),
        ("meta", True, True),
    ],
)
def test_which_devices_pool_by_the_kernel(
    monkeypatch: pytest.MonkeyPatch, device: str, compiled: bool, expected: bool
):
    monkeypatch.setattr(roi_pooling, "has_kernel", lambda operator, place: compiled)
    roi_pooling._is_pooled_by_kernel.cache_clear()
    assert roi_pooling._is_pooled_by_kernel(torch.device(device)) is expected
    roi_pooling._is_pooled_by_kernel.cache_clear()


def test_one_cell_by_hand():
    # Cells of stride 4 have centres at pixels 2, 6, 10, 14. The box's cell has samples at pixels 5 and 7,
    # that is cells 0.75 and 1.25 along both axes: on the map y · 10 + x they average to 10 + 1.
    feature = torch.arange(4)[:, None] * 10.0 + torch.arange(4)
    pooled = pool_regions([feature[None, None]], [4], torch.tensor([[[4.0, 4, 8, 8]]]), 1)
    assert pooled.item() == 11.0


def test_one_cell_by_hand_without_the_half():
    # The same box read half a cell further: samples at cells 1.25 and 1.75, 1.5 on average, so 15 + 1.5.
    feature = torch.arange(4)[:, None] * 10.0 + torch.arange(4)
    box = torch.tensor([[[4.0, 4, 8, 8]]])
    assert pool_regions([feature[None, None]], [4], box, 1, aligned=False).item() == 16.5


def test_levels_equal_to_torchvision():
    boxes = regions(200, seed=3)
    exact = torch.tensor([[0.0, 0, s, s] for s in (1, 55.99, 56, 111.99, 112, 223.99, 224, 447, 448, 1e5)])
    boxes = torch.cat([boxes, exact.expand(2, -1, -1)], dim=1)
    mapper = LevelMapper(2, 5)
    assert region_levels(boxes, STRIDES).flatten().tolist() == mapper(list(boxes)).tolist()
    assert region_levels(boxes, [16]).tolist() == [[0] * 210] * 2


def test_no_regions_and_diverged_boxes():
    features = maps(STRIDES)
    assert pool_regions(features, STRIDES, torch.zeros(2, 0, 4), 7).shape == (0, 3, 7, 7)
    boxes = torch.tensor([float("nan"), float("inf")])[:, None, None].expand(2, 1, 4)
    assert pool_regions(features, STRIDES, boxes, 7).shape == (2, 3, 7, 7)  # no crash on the way to the loss


def test_half_precision_features_keep_float32_weights():
    features, boxes = [f.detach().bfloat16() for f in maps([8])], regions(20)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = pool_regions(features, [8], boxes, 7)
    expected = expected_pool([features[0].float()], [8], boxes, 7, 2, True)
    assert torch.equal(pooled, expected.bfloat16())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_format_is_kept(layout: torch.memory_format):
    features = [level.detach().contiguous(memory_format=layout) for level in maps([8])]
    pooled = pool_regions(features, [8], regions(9), 7)
    assert pooled.is_contiguous(memory_format=layout)
    torch.testing.assert_close(
        pooled, expected_pool(features, [8], regions(9), 7, 2, True), rtol=1e-5, atol=1e-5
    )


def polygons(count: int, low: float, high: float) -> tuple[Tensor, Tensor]:
    """(count, 208, 304) bool masks, and a box around each that misses it by a tenth or so."""
    rng = np.random.default_rng(0)
    masks, boxes = [], []
    for _ in range(count):
        centre, sides = rng.uniform((80, 60), (220, 150)), rng.uniform(low, high, 2)
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        spokes = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(0.4, 1, (9, 1))
        image = Image.new("1", (304, 208))
        ImageDraw.Draw(image).polygon([tuple(p) for p in centre + spokes * sides / 2], fill=1)
        masks.append(np.array(image))
        corners = np.concatenate([centre - sides / 2, centre + sides / 2]) + rng.normal(0, 0.08 * low, 4)
        boxes.append(corners.clip(0, (304, 208, 304, 208)))
    return torch.tensor(np.stack(masks)), torch.tensor(np.stack(boxes), dtype=torch.float32)


def pack(masks: Tensor) -> Tensor:
    return torch.tensor(np.packbits(masks.numpy(), axis=-1))


def expected_targets(masks: Tensor, boxes: Tensor, size: int) -> Tensor:
    """As detectron2 has them."""
    rois = torch.cat([torch.arange(len(boxes))[:, None], boxes], dim=1)
    return roi_align(masks[:, None].float(), rois, size, aligned=True)[:, 0] >= 0.5


@pytest.mark.parametrize("size", [14, 28])
@pytest.mark.parametrize(("low", "high"), [(8, 24), (24, 60), (60, 200)])
def test_targets_nearly_equal_to_roi_align(size: int, low: float, high: float):
    masks, boxes = polygons(60, low, high)
    targets = mask_targets(pack(masks)[None], torch.arange(60)[None], boxes[None], size)[0]
    expected = expected_targets(masks, boxes, size)
    assert (targets != expected).float().mean() < 0.01
    assert 0.2 < expected.float().mean() < 0.6


def test_targets_of_rectangles_on_cell_borders_are_exact():
    """Regions of 28 cells of 3 by 2 pixels; each object covers a rectangle of whole cells of its region."""
    rng = np.random.default_rng(0)
    masks, boxes = torch.zeros(2, 5, 96, 160, dtype=torch.bool), torch.zeros(2, 7, 4)
    objects, expected = torch.tensor(rng.integers(0, 5, (2, 7))), torch.zeros(2, 7, 28, 28)
    for picture, slot in np.ndindex(2, 5):
        left, top = rng.integers(0, 160 - 84), rng.integers(0, 96 - 56)
        x, y = np.sort(rng.choice(29, 2, replace=False)), np.sort(rng.choice(29, 2, replace=False))
        masks[picture, slot, top + 2 * y[0] : top + 2 * y[1], left + 3 * x[0] : left + 3 * x[1]] = True
        chosen = objects[picture] == slot
        boxes[picture, chosen] = torch.tensor([left, top, left + 84, top + 56], dtype=torch.float32)
        cells = torch.zeros(28, 28)
        cells[y[0] : y[1], x[0] : x[1]] = 1
        expected[picture, chosen] = cells
    assert torch.equal(mask_targets(pack(masks), objects, boxes, 28), expected)


def test_targets_of_no_regions_and_of_regions_outside():
    masks = torch.full((2, 3, 32, 4), 255, dtype=torch.uint8)
    assert mask_targets(masks, torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, 4), 14).shape == (
        2,
        0,
        14,
        14,
    )
    boxes = torch.tensor([[[0.0, 0, 0, 0]], [[-9.0, -9, 99, 99]]])
    assert mask_targets(masks, torch.zeros(2, 1, dtype=torch.int64), boxes, 14).all()
