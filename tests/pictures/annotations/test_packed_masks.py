import json
from typing import Any

import pytest

from pictures.annotations.packed_masks import MaskPacker

MASKS: list[Any] = [
    [[0, 1.25, 640.01, 3, 0.1, 0.07]],
    {"size": [4, 6], "counts": "0h0"},
    [[1, 2, 3, 4, 5, 6], [7.5, 8, 9, 10, 11, 12, 13, 1e6]],
    [[1, 2, 3, 4, 5, 6.001]],  # a third digit
    [[1, 2, 3, 4, 5, 1e9]],  # beyond 32 bits
    {"size": [4, 6], "counts": [8, 4, 12]},
    [[-3.33, 2, 3, 4, 5, 6]],
]


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_masks_come_back_as_they_were(at_once: int):
    packer = MaskPacker()
    for start in range(0, len(MASKS), at_once):
        packer.add(MASKS[start : start + at_once])
    packed = packer.packed()
    assert [packed.read(row) for row in range(len(MASKS))] == MASKS
    assert len(packed.low) == len(packed.high) == 6 + 6 + 8 + 6 and packed.lengths.tolist() == [6, 6, 8, 6]
    whole = MaskPacker()
    whole.add(MASKS)
    assert packed.digest() == whole.packed().digest()
    # Runs that are resumed compare it, so it stays what it was when numbers were kept in 32 bits.
    assert packed.digest().hex() == "dfdc64945d1a4a9d3ea7df61792d8bc46191f536c26a2a9b851aaa7cc8e4699d"


def test_every_number_of_two_digits_is_exact():
    numbers = [json.loads(f"{n // 100}.{n % 100:02}") for n in range(0, 100_000, 2)]
    packer = MaskPacker()
    packer.add([[numbers]])
    packed = packer.packed()
    assert not len(packed.text) and packed.read(0) == [numbers]


def test_the_digest_is_of_every_number():
    one, other = MaskPacker(), MaskPacker()
    one.add([[[1, 2, 3, 4, 5, 6]]])
    other.add([[[1, 2, 3, 4, 5, 6.01]]])
    assert one.packed().digest() != other.packed().digest()


def test_small_numbers_need_16_bits_until_the_first_large_one():
    packer = MaskPacker()
    packer.add([[[0, 655.35, 1, 2, 3, 4]]])
    small = packer.packed()
    assert small.read(0) == [[0, 655.35, 1, 2, 3, 4]] and not small.high.size
    packer = MaskPacker()
    for number in (655.35, 655.36, -0.01):
        packer.add([[[0, number, 1, 2, 3, 4]]])
    mixed = packer.packed()
    assert len(mixed.high) == 18
    assert [mixed.read(row)[0][1] for row in range(3)] == [655.35, 655.36, -0.01]


def test_without_objects():
    packed = MaskPacker().packed()
    assert packed.starts.tolist() == [[0, 0, 0]] and len(packed.digest()) == 32
