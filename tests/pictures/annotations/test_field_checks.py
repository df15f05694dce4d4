"""Which values pass for numbers, ids, sizes and boxes."""

import numpy as np
import pytest

from foundation.errors import UserError
from pictures.annotations.field_checks import (
    check_known,
    decimal,
    is_area,
    is_flag,
    is_id,
    is_number,
    is_size,
    is_text,
    is_whole,
    shown,
    xywh_boxes,
)

NAN, INF = float("nan"), float("inf")


def name(index: int) -> str:
    return f"entry {index}"


@pytest.mark.parametrize(
    ("check", "legal", "refused"),
    [
        (
            is_number,
            [0, -1, 1.5, np.float32(2), np.int64(3), 2**900],
            [True, "1", None, NAN, INF, 10**400, [1]],
        ),
        (
            is_whole,
            [0, -5, 1.0, 2**70, np.int64(3), np.float64(2)],
            [True, 1.5, NAN, INF, "1", None, [1], {}],
        ),
        (is_text, ["a", " ", "\u00e9", "\U0001f600"], ["", "a\0b", "\ud800", 1, None, b"a"]),
        (is_id, [0, -5, 1.0, 2**70, "x-9"], [True, "", 1.5, None, [0]]),
        (is_flag, [None, 0, 1, 0.0, 1.0], ["0", "no", [0], 2, -1, True, False, NAN, 0.5]),
        (is_area, [None, 0, 600, 0.5, 1e18], ["600", -1, NAN, INF, True, [600], 1e19]),
    ],
)
def test_legal_values(check, legal, refused):
    assert [check(value) for value in legal] == [True] * len(legal)
    assert [check(value) for value in refused] == [False] * len(refused)


def test_sizes():
    assert is_size(1, 1) and is_size(64.0, 96) and is_size(1, 2**31 - 1)
    wrong = [(0, 5), (5, -1), (2**16, 2**15), (6.5, 4), (True, 4), ("6", 4), (None, 4), (10**400, 1)]
    assert not any(is_size(height, width) for height, width in wrong)


def test_decimals_are_digits_alone():
    assert [decimal(text) for text in ("12", "-1.5", "1e2", ".5", "3.")] == [12, -1.5, 100, 0.5, 3]
    # What Python's float reads besides: 1000, infinity and the Arabic digit 3.
    for text in ("1_000", "inf", "nan", "\u0663", "", "0x10", "true", "1 2"):
        assert np.isnan(decimal(text))


def test_long_values_are_cut():
    assert shown("ab") == "'ab'" and shown("a" * 90) == "'" + "a" * 78 + "\u2026"


def test_truth_values_are_no_known_ids():
    for values in ([1, True], [True], ["1"], [[1]], [None], [1.5]):
        with pytest.raises(UserError, match=f"entry {len(values) - 1}: image_id .* is not in"):
            check_known(values, {1}, "image_id", name)
    check_known([1.0, np.int64(1)], {1}, "image_id", name)


@pytest.mark.parametrize(
    "wrong", [[True, 1, 1, 1], [1, 2, 3, False], [1e10, 0, 1, 1], [0, 0, 10**400, 1], [0, 0, -1, 1]]
)
def test_boxes_of_other_numbers(wrong):
    with pytest.raises(UserError, match="entry 1: bbox is .*, expected .x, y, width, height. in pixels"):
        xywh_boxes([{"bbox": [1, 2, 3, 4]}, {"bbox": wrong}], name)


def test_all_boxes_nested_alike():
    # Every row wrong in the same way makes a regular array: it must not pass by its count of numbers.
    with pytest.raises(UserError, match="entry 0: bbox"):
        xywh_boxes([{"bbox": [[1, 2], [3, 4]]}, {"bbox": [[1, 2], [3, 4]]}], name)
    with pytest.raises(UserError, match="entry 0: bbox"):
        xywh_boxes([{"bbox": ["1", "2", "3", "4"]}], name)


def test_boxes_of_whole_numbers_fractions_and_arrays():
    entries = [{"bbox": [1, 2, 3, 4]}, {"bbox": (0.5, 0, 0, 0)}, {"bbox": np.ones(4, dtype=np.float32)}]
    assert xywh_boxes(entries, name).tolist() == [[1, 2, 3, 4], [0.5, 0, 0, 0], [1, 1, 1, 1]]
    assert xywh_boxes([], name).shape == (0, 4)
    assert xywh_boxes([{"bbox": [1, 2, 3, 4]}], name).dtype == np.float64


def test_known_values_pass_and_many_are_abbreviated():
    check_known([3, 1], {1, 2, 3}, "image_id", name)
    with pytest.raises(
        UserError, match=r"^entry 1: image_id 9 is not .* has 6 \(1, 2, 3, 4, 5, …\); correct"
    ):
        check_known([3, 9], {1, 2, 3, 4, 5, 6}, "image_id", name)
