import pytest
import torch

from detection.data.transforms import flip, resize, resized_size
from detection.types import Target


def target(boxes: list, size: tuple[int, int], masks: torch.Tensor | None = None) -> Target:
    count = len(boxes)
    return Target(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.ones(count, dtype=torch.int64),
        ignore=torch.zeros(count, dtype=torch.bool),
        image_id=1,
        size=size,
        masks=masks,
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (600, 800)),  # 600 / 375 = 1.6; 500 x 1.6 = 800
        ((333, 500), (600, 901)),  # 600 / 333 = 1.8018; 500 x 1.8018 = 900.9
        ((200, 500), (400, 1000)),  # 600 / 200 = 3 would give 1500: 1000 / 500 = 2 instead
        ((500, 200), (1000, 400)),
        ((1200, 1200), (600, 600)),
        ((1, 1), (600, 600)),
        ((1, 5000), (1, 1000)),  # 0.2 pixels are none: at least one stays
    ],
)
def test_resized_size(size: tuple[int, int], expected: tuple[int, int]):
    assert resized_size(size, 600, 1000) == expected


def test_resize_scales_each_axis_by_what_it_really_gets():
    # (4, 6) to (8, 9): y x 2, x x 1.5. (2, 1, 4, 3) becomes (3, 2, 6, 6).
    image = torch.full((3, 4, 6), 77, dtype=torch.uint8)
    resized, scaled = resize(image, target([[2, 1, 4, 3]], (4, 6)), (8, 9))
    assert resized.shape == (3, 8, 9)
    assert resized.dtype == torch.uint8
    assert resized.unique().tolist() == [77]
    assert scaled.boxes.tolist() == [[3, 2, 6, 6]]
    assert scaled.size == (4, 6)  # of the file


def test_resize_is_antialiased():
    # Every fourth column is white. Shrunk fourfold, 255 / 4 = 64 remains; else only the middle two columns
    # of each four would be looked at, and those are black.
    image = (torch.arange(64) % 4 == 0).to(torch.uint8).mul(255).expand(3, 64, 64)
    resized, _ = resize(image, target([], (64, 64)), (16, 16))
    assert (resized[:, :, 1:-1].float() - 64).abs().max() < 20


def test_resize_to_its_own_size_changes_nothing():
    image, objects = torch.zeros(3, 4, 6, dtype=torch.uint8), target([[2, 1, 4, 3]], (4, 6))
    assert resize(image, objects, (4, 6)) == (image, objects)


def test_masks_are_resized_with_their_boxes():
    # Halved, cell i takes the nearest of the centres 2i + 1: pixels 1, 3, 5 … of each axis. The mask covers
    # y 3-4 and x 5-8 of 8 x 12, so y 1 and x 2, 3 remain.
    mask = torch.zeros(1, 8, 12, dtype=torch.bool)
    mask[0, 3:5, 5:9] = True
    image = torch.zeros(3, 8, 12, dtype=torch.uint8)
    _, halved = resize(image, target([[5, 3, 9, 5]], (8, 12), mask), (4, 6))
    assert halved.masks is not None
    assert halved.masks[0].nonzero().tolist() == [[1, 2], [1, 3]]
    _, tripled = resize(image, target([[5, 3, 9, 5]], (8, 12), mask), (24, 36))
    assert tripled.masks is not None
    assert torch.equal(tripled.masks[0, 9:15, 15:27], torch.ones(6, 12, dtype=torch.bool))
    assert tripled.masks.sum() == 6 * 12


def test_masks_are_mirrored_and_resized_in_either_order():
    # Odd ratio: a shift of half a pixel, as mode "nearest" has it, shows as a difference.
    mask = torch.rand(4, 9, 15, generator=torch.Generator().manual_seed(0)) < 0.5
    image = torch.zeros(3, 9, 15, dtype=torch.uint8)
    objects = target([[0, 0, 9, 9]] * 4, (9, 15), mask)
    _, one_way = resize(*flip(image, objects), (3, 5))
    _, other_way = flip(*resize(image, objects, (3, 5)))
    assert one_way.masks is not None and other_way.masks is not None
    assert torch.equal(one_way.masks, other_way.masks)


def test_no_objects():
    image, empty = torch.zeros(3, 4, 6, dtype=torch.uint8), torch.zeros(0, 4, 6, dtype=torch.bool)
    _, resized = resize(image, target([], (4, 6), empty), (8, 9))
    assert resized.boxes.shape == (0, 4)
    assert resized.masks is not None
    assert resized.masks.shape == (0, 8, 9)
    _, flipped = flip(image, target([], (4, 6), empty))
    assert flipped.boxes.shape == (0, 4)


def test_flip():
    # Width 10: (2, 1, 5, 4) becomes (10 - 5, 1, 10 - 2, 4). The marked pixel x = 2 goes to 9 - 2 = 7.
    image = torch.zeros(3, 6, 10, dtype=torch.uint8)
    image[:, 1, 2] = 9
    mask = (image[:1] == 9).clone()
    flipped, moved = flip(image, target([[2, 1, 5, 4], [0, 0, 10, 6]], (6, 10), mask.expand(2, -1, -1)))
    assert moved.boxes.tolist() == [[5, 1, 8, 4], [0, 0, 10, 6]]
    assert flipped[0].nonzero().tolist() == [[1, 7]]
    assert moved.masks is not None
    assert moved.masks[1].nonzero().tolist() == [[1, 7]]


def test_flip_twice_is_nothing():
    image = torch.randint(256, (3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    objects = target([[0.25, 1, 2.5, 4]], (5, 7))
    again, back = flip(*flip(image, objects))
    assert torch.equal(again, image)
    assert torch.equal(back.boxes, objects.boxes)


def test_one_pixel():
    image = torch.full((3, 1, 1), 200, dtype=torch.uint8)
    resized, scaled = resize(image, target([[0, 0, 1, 1]], (1, 1)), (600, 600))
    assert resized.unique().tolist() == [200]
    assert scaled.boxes.tolist() == [[0, 0, 600, 600]]
