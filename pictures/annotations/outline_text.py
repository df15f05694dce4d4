"""Polygons of a COCO file read from its text into arrays, without a Python object for each of their numbers.

This is for numbers of up to two digits behind the point and eight characters, as COCO's files have them.
Whatever else stands in a piece of a file is left to the parser of JSON.
"""

from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

LARGEST = 2**31  # hundredths below it fit 32 bits
_KEY = b'"segmentation":'
_SPARE = bytes(8)  # before the text, so that the eight characters before the end of any number can be read
_POINT = ord(".")
# By how many digits a number has behind its point: which of its last characters these are, and what makes
# hundredths of all its digits.
_BEHIND = np.array([2**64 - 1, 0xFF << 56, 0xFFFF << 48], dtype=np.uint64)
_SCALE = np.array([100, 10, 1], dtype=np.int64)
# By the digits before the point: the least number without a zero in front that has them, in hundredths.
_LEAST = np.array([0, 0, *(100 * 10**digits for digits in range(1, 8))], dtype=np.int64)
# Neighbouring digits, pairs and fours become one number each (Lemire, "Quickly parsing eight digits", 2018).
_JOINED = (
    (0x0F0F0F0F0F0F0F0F, 10 * 2**8 + 1, 8),
    (0x00FF00FF00FF00FF, 100 * 2**16 + 1, 16),
    (0x0000FFFF0000FFFF, 10_000 * 2**32 + 1, 32),
)


class Outlines(NamedTuple):
    """Polygons of some objects.

    Attributes:
        rows: (R,) int64, which entries of their piece the objects are, ascending.
        hundredths: (H,) int64, the corners of all polygons, x and y in turn; below `LARGEST` either way.
        lengths: (P,) int64, how many numbers each polygon has.
        counts: (R,) int64, how many polygons each object has, at least one.
    """

    rows: NDArray[np.int64]
    hundredths: NDArray[np.int64]
    lengths: NDArray[np.int64]
    counts: NDArray[np.int64]


def read_outlines(piece: bytes) -> tuple[list[Any], Outlines | None]:
    """The entries in a JSON list of annotations, and their polygons.

    Entries whose polygons are given have None for a segmentation; all other segmentations are no lists. The
    polygons are None, and the entries complete, where an entry has no segmentation or anything is unusual.

    Raises:
        ValueError: it is no JSON.
    """
    first, *others = piece.split(_KEY)
    rows, texts, rest = [], [], [first]
    for row, part in enumerate(others):
        if part.startswith((b"[[", b" [[")):
            end = part.find(b"]]") + 2
            rows.append(row)
            texts.append(part[part.index(b"[") : end])
            part = b"null" + part[end:]
        rest.append(part)
    # Without escapes every mention is a key, so that as many as there are entries with it are one each.
    found = None
    if texts and b"\\" not in piece and piece.count(_KEY[:-1]) == len(others):
        found = _numbers(b",".join(texts))
    if found is not None and len(found[2]) == len(rows):
        entries = from_json(_KEY.join(rest))
        outlines = Outlines(np.array(rows, dtype=np.int64), *found)
        if _mention_no_others(entries, len(others)):
            return entries, outlines
    return from_json(piece), None


def _mention_no_others(entries: list[Any], mentions: int) -> bool:
    """Whether each entry has one of so many segmentations, and none is still a list."""
    try:
        segmentations = list(map(itemgetter("segmentation"), entries))
    except (LookupError, TypeError):
        return False
    return len(segmentations) == mentions and list not in map(type, segmentations)


def _numbers(text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
    """Of `[[1,2.5,…],[…]],[[…]]`: numbers in hundredths, lengths of polygons, how many are in each.

    None where anything else stands there, such as a space that does not follow a comma.
    """
    if text.count(b" ") != text.count(b", ") or b"/" in text:
        return None
    text = text.translate(None, b" ")
    characters = np.frombuffer(_SPARE + text, dtype=np.uint8)
    inside = characters - ord("-") <= ord("9") - ord("-")  # those before "-" wrap around; "/" is none
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    if not len(starts) or starts[0] != len(_SPARE) + 2 or ends[-1] != len(characters) - 2:
        return None
    gaps = starts[1:] - ends[:-1]
    last = np.flatnonzero(gaps != 1)  # numbers of polygons
    # Each gap has a comma: any other has none or is wider.
    if text.count(b",") != len(gaps) or not _are_borders(characters, ends[last], gaps[last]):
        return None
    hundredths = _hundredths(characters, starts, ends)
    if hundredths is None:
        return None
    lengths = np.diff(last, prepend=-1, append=len(starts) - 1)
    counts = np.diff(np.flatnonzero(gaps[last] == 5), prepend=-1, append=len(last))
    return hundredths, lengths, counts


def _are_borders(characters: NDArray[np.uint8], places: NDArray[np.int64], widths: NDArray[np.int64]) -> bool:
    """Whether `],[` or `]],[[` stands at each of these places, as wide as given."""
    for width, border in ((3, b"],["), (5, b"]],[[")):
        for offset, character in enumerate(border):
            if (characters[places[widths == width] + offset] != character).any():
                return False
    return bool(((widths == 3) | (widths == 5)).all())


def _hundredths(
    characters: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Numbers between these places in hundredths, None unless all are JSON's of the usual form.

    Their characters are digits, "." and "-" alone.
    """
    negative = characters[starts] == ord("-")
    digits = ends - starts - negative
    if (characters == ord("-")).sum() != negative.sum() or digits.max() > 8 or digits.min() < 1:
        return None
    # The last eight characters of each number as one word, the last in its highest byte.
    words = np.ndarray(len(characters) - 7, "<u8", characters.data, strides=(1,))[ends - 8]
    unused = (8 * (8 - digits)).astype(np.uint64)
    words = words >> unused << unused
    one, two = (words >> np.uint64(shift) & np.uint64(0xFF) == _POINT for shift in (48, 40))
    behind = one + 2 * two.astype(np.uint8)
    before = digits - behind - (behind > 0)
    if (characters == _POINT).sum() != np.count_nonzero(behind) or before.min() < 1:
        return None
    kept = _BEHIND[behind]
    words = words & kept | words << np.uint64(8) & ~kept  # digits before the point move onto its place
    for mask, factor, shift in _JOINED:
        words = (words & np.uint64(mask)) * np.uint64(factor) >> np.uint64(shift)
    values = words.astype(np.int64) * _SCALE[behind]
    if (values < _LEAST[before]).any() or values.max() >= LARGEST:
        return None
    return np.where(negative, -values, values)
