import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch.nn import functional as F

from detection.data.transforms import View, jittered_view, resized_size
from pictures.annotations.coco_masks import draw_mask

# Every decoded mask brings one, from inside pycocotools.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def boxes(*rows: tuple) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def unpacked(view: View, mask: np.ndarray) -> np.ndarray:
    run_length = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    packed = view.packed_mask(draw_mask(run_length, view.source, view.resized, view.window))
    assert packed.shape == (view.shown[0], -(-view.shown[1] // 8))
    bits = np.unpackbits(packed, axis=1)
    assert not bits[:, view.shown[1] :].any()  # the rest of the last byte
    return bits[:, : view.shown[1]].astype(bool)


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
        ((10000, 30), (1000, 3)),
    ],
)
def test_resized_size(size: tuple[int, int], expected: tuple[int, int]):
    assert resized_size(size, 600, 1000) == expected


def test_resize_scales_each_axis_by_what_it_really_gets():
    # (4, 6) to (8, 9): y x 2, x x 1.5. (2, 1, 4, 3) becomes (3, 2, 6, 6).
    view = View((4, 6), (8, 9))
    resized = view.image(torch.full((3, 4, 6), 77, dtype=torch.uint8))
    assert resized.shape == (3, 8, 9)
    assert resized.dtype == torch.uint8
    assert resized.unique().tolist() == [77]
    assert view.boxes(boxes((2, 1, 4, 3))).tolist() == [[3, 2, 6, 6]]
    assert view.scale == (2, 1.5)


def test_resize_is_antialiased():
    # Every fourth column is white. Shrunk fourfold, 255 / 4 = 64 remains; else only the middle two columns
    # of each four would be looked at, and those are black.
    image = (torch.arange(64) % 4 == 0).to(torch.uint8).mul(255).expand(3, 64, 64)
    resized = View((64, 64), (16, 16)).image(image)
    assert (resized[:, :, 1:-1].float() - 64).abs().max() < 20


def test_a_view_of_everything_changes_nothing():
    image = torch.zeros(3, 4, 6, dtype=torch.uint8)
    assert View((4, 6), (4, 6)).image(image) is image


def test_masks_are_resized_with_their_boxes():
    # Halved, cell i takes the centre at 2i + 1: pixels 1, 3, 5 … of each axis. The mask covers y 3-4 and
    # x 5-8 of 8 x 12, so y 1 and x 2, 3 remain.
    mask = np.zeros((8, 12), dtype=bool)
    mask[3:5, 5:9] = True
    assert np.argwhere(unpacked(View((8, 12), (4, 6)), mask)).tolist() == [[1, 2], [1, 3]]
    tripled = unpacked(View((8, 12), (24, 36)), mask)
    assert tripled[9:15, 15:27].all() and tripled.sum() == 6 * 12


@pytest.mark.parametrize("size", [(9, 15), (3, 5), (20, 40), (1, 1), (7, 64)])
def test_masks_take_the_nearest_pixel(size: tuple[int, int]):
    mask = np.random.default_rng(0).random((9, 15)) < 0.5
    expected = F.interpolate(torch.from_numpy(mask)[None, None].float(), size, mode="nearest-exact")[0, 0]
    assert np.array_equal(unpacked(View((9, 15), size), mask), expected.bool().numpy())


def test_a_window_shows_a_part():
    # Doubled to 12 x 16, rows 3-6 and columns 5-14 of that. (1, 1, 4, 3) doubles to (2, 2, 8, 6), which the
    # window (5, 3, 15, 7) clips to (5, 3, 8, 6): (0, 0, 3, 3) from its corner.
    view = View((6, 8), (12, 16), (3, 5, 4, 10))
    assert (view.shown, view.scale) == ((4, 10), (2, 2))
    found = view.boxes(boxes((1, 1, 4, 3), (0, 0, 2, 6), (0, 0, 8, 6)))
    assert found.tolist() == [[0, 0, 3, 3], [0, 0, 0, 4], [0, 0, 10, 4]]  # the second is left of it
    image = torch.randint(256, (3, 6, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(view.image(image), View((6, 8), (12, 16)).image(image)[:, 3:7, 5:15])
    mask = np.random.default_rng(0).random((6, 8)) < 0.5
    assert np.array_equal(unpacked(view, mask), mask.repeat(2, 0).repeat(2, 1)[3:7, 5:15])


def test_mirrored():
    # Width 10: (2, 1, 5, 4) becomes (10 - 5, 1, 10 - 2, 4). The marked pixel x = 2 goes to 9 - 2 = 7.
    view = View((6, 10), (6, 10), mirrored=True)
    image = torch.zeros(3, 6, 10, dtype=torch.uint8)
    image[:, 1, 2] = 9
    assert view.boxes(boxes((2, 1, 5, 4), (0, 0, 10, 6))).tolist() == [[5, 1, 8, 4], [0, 0, 10, 6]]
    assert view.image(image)[0].nonzero().tolist() == [[1, 7]]
    assert np.argwhere(unpacked(view, (image[0] == 9).numpy())).tolist() == [[1, 7]]


def test_a_window_is_mirrored_after_it_is_cut():
    view = View((6, 8), (12, 16), (3, 5, 4, 10), mirrored=True)
    straight = View((6, 8), (12, 16), (3, 5, 4, 10))
    image = torch.randint(256, (3, 6, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mask = np.random.default_rng(0).random((6, 8)) < 0.5
    assert torch.equal(view.image(image), straight.image(image).flip(2))
    assert np.array_equal(unpacked(view, mask), unpacked(straight, mask)[:, ::-1])
    assert view.boxes(boxes((1, 1, 4, 3))).tolist() == [[7, 0, 10, 3]]  # (0, 0, 3, 3), width 10


def test_no_objects():
    for view in (View((4, 6), (8, 9)), View((4, 6), (8, 9), (1, 2, 3, 4), mirrored=True)):
        assert view.boxes(boxes()).shape == (0, 4)


def test_one_pixel():
    view = View((1, 1), (600, 600))
    assert view.image(torch.full((3, 1, 1), 200, dtype=torch.uint8)).unique().tolist() == [200]
    assert view.boxes(boxes((0, 0, 1, 1))).tolist() == [[0, 0, 600, 600]]


def test_jitter_scales_the_size_that_fits_and_cuts_a_window_anywhere():
    # 50 x 100 fits into 40 at a scale of 0.4, 20 x 40; doubled it is 40 x 80, of which 40 columns are shown.
    views = [jittered_view((50, 100), (2, 2), 40, np.random.default_rng(seed)) for seed in range(400)]
    assert {view.resized for view in views} == {(40, 80)}
    assert {view.shown for view in views} == {(40, 40)}
    windows = [view.window for view in views if view.window is not None]
    assert {window[0] for window in windows} == {0}
    assert {min(w[1] for w in windows), max(w[1] for w in windows)} == {0, 40}
    # Uniform on 0 … 40: mean 20, standard deviation of the mean of 400 11.8 / 20 = 0.6.
    assert 17 < np.mean([window[1] for window in windows]) < 23


def test_jitter_draws_scales_between_its_limits():
    views = [jittered_view((50, 100), (0.1, 1), 40, np.random.default_rng(seed)) for seed in range(400)]
    assert {view.window for view in views} == {None}
    widths = [view.resized[1] for view in views]
    assert (min(widths), max(widths)) == (4, 40)
    assert 20 < np.mean(widths) < 24  # 22; standard deviation of the mean 10.4 / 20 = 0.5
    assert all(abs(view.resized[0] - view.resized[1] / 2) <= 1 for view in views)


@pytest.mark.parametrize("size", [(10000, 30), (30, 10000)])
def test_jitter_of_thin_pictures(size: tuple[int, int]):
    view = jittered_view(size, (2, 2), 64, np.random.default_rng(0))
    assert sorted(view.resized) == [1, 128] and sorted(view.shown) == [1, 64]
