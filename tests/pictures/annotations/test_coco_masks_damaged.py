"""Damaged masks refused, which decoders would take for masks of something else."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from detection.results.pasted_masks import as_run_length
from foundation.errors import UserError
from pictures.annotations.coco_masks import check_segmentations, draw_mask, segmentation_problems


def encoded(mask: np.ndarray) -> dict[str, Any]:
    found = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": found["counts"].decode()}


def check(*segmentations: Any, size: tuple[int, int]) -> None:
    check_segmentations(segmentations, [size] * len(segmentations), lambda index: f"entry {index}")


def random_mask(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((height, width)) < rng.random()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_whole_ones_pass_and_shortened_ones_do_not(height: int, width: int, seed: int, cut: int):
    whole = encoded(random_mask(height, width, seed))
    check(whole, whole, size=(height, width))
    short = {**whole, "counts": whole["counts"][:-cut]}
    with pytest.raises(UserError, match="entry 1: the counts .* are damaged"):
        check(whole, short, whole, size=(height, width))


def test_a_large_mask_with_long_runs_passes():
    mask = np.zeros((3000, 2000), dtype=bool)
    mask[1:2999, 10:1990] = True
    check(encoded(mask), {**encoded(mask), "counts": encoded(mask)["counts"].encode()}, size=(3000, 2000))


@pytest.mark.parametrize(
    "counts", ["", "zz~", "é", "0", "o", "\x00", "4" * 5, "\ud800", "\\" + "P" * 7 + "0"]
)
def test_damaged_text(counts: str):
    # What pycocotools decodes of most of these holds whatever stood in memory.
    with pytest.raises(UserError) as refused:
        check({"size": [3, 4], "counts": counts}, size=(3, 4))
    text = "are damaged; expected COCO's compressed run-length of all 12 pixels"
    assert str(refused.value).startswith("entry 0: the counts") and text in str(refused.value)


def test_a_negative_run_is_damaged():
    # Runs 4, 4, 2 and 4 - 6 = -2 ("J" is 26, that is -6 in five bits), in all the 8 pixels of the picture.
    check({"size": [2, 5], "counts": "442L"}, size=(2, 5))  # 4, 4, 2 and 4 - 4 = 0
    with pytest.raises(UserError, match="are damaged"):
        check({"size": [2, 4], "counts": "442J"}, size=(2, 4))


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        [[1, 2, 3, 4]],
        [[0, 0, 1, 1, float("nan"), 2]],
        {"size": [4, 3], "counts": [12]},
        {"size": [3, 4]},
        {"size": [3, 4], "counts": [True, 11]},
        {"size": [3, 4], "counts": [6.5, 5.5]},
        {"size": [3, 4], "counts": [float("nan"), 12]},
        [[0, 0, 1, 1, 2]],
        [[0, 0, 1, 1, 2, 2, 3]],
        [0, 0, 1, 1, 2, 2],
        [[[0, 0], [1, 1], [2, 2]]],
        [[0, 0, 1, 1, 2, 2], []],
        [[0, 0, True, 1, 2, 2]],
        [[0, 0, "1", 1, 2, 2]],
        [[0, 0, 10**400, 1, 2, 2]],
        "polygon",
    ],
)
def test_missing_and_malformed(segmentation: Any):
    with pytest.raises(UserError, match="entry 0: segmentation is missing or malformed"):
        check(segmentation, size=(3, 4))


def test_nothing_is_whole():
    check(size=(3, 4))


def test_all_damaged_ones_are_given():
    whole, size = {"size": [2, 5], "counts": "442L"}, (2, 5)
    unreadable, short = {**whole, "counts": "zz~"}, {**whole, "counts": "44"}
    given = [None, whole, unreadable, short, [[0, 0, 1, 1, 2, 2]], short]
    found = segmentation_problems(given, [size] * 6)
    assert list(found) == [0, 2, 3, 5]
    assert "got None" in found[0] and all("are damaged" in found[index] for index in (2, 3, 5))


@pytest.mark.filterwarnings("error")  # one of NumPy's would stand before the refusal
@pytest.mark.parametrize("far", [1e9, -1e9, 1e18, 1e300, float("inf"), 100_001, -100_001])
def test_polygons_far_outside_are_refused_by_entry(far: float):
    # COCO's code multiplies a corner by five in 32 bits and fills memory along each edge.
    near = [[1, 1, 3, 1, 3, 2]]
    with pytest.raises(
        UserError, match=r"entry 1: segmentation is missing or malformed, got .* 100,000 pixels"
    ):
        check(near, [[0, 0, far, 0, far, 2, 0, 2]], near, size=(3, 4))


def test_the_length_of_an_outline_is_bound():
    # Up and down between -500 and 500: an edge is 1000 long, and so is the last, back to the first corner.
    def teeth(corners: int) -> list:
        return [[number for x in range(corners) for number in (x / 1000, 500 - 1000 * (x % 2))]]

    check(teeth(100), size=(3, 4))
    with pytest.raises(UserError, match="entry 0: segmentation"):
        check(teeth(102), size=(3, 4))
    check(teeth(102), size=(400, 300))  # 120 000 pixels


def test_one_wrong_polygon_among_thousands_is_found():
    sound = [[0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 2.5, 2]]
    given: list[Any] = [sound] * 5000
    given[4321] = [[0, 0, 1, 1, 2]]
    assert list(segmentation_problems(given, [(3, 4)] * 5000)) == [4321]


def test_run_lengths_of_whole_floats_are_those_of_the_numbers():
    floats = {"size": [3.0, 4.0], "counts": [4.0, 2.0, 6.0]}
    check(floats, size=(3, 4))
    expected = draw_mask({"size": [3, 4], "counts": [4, 2, 6]}, (3, 4))
    assert np.array_equal(draw_mask(floats, (3, 4)), expected) and expected.sum() == 2
    assert as_run_length(floats, (3, 4)) == encoded(expected)
