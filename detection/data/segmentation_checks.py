"""Whether COCO segmentations are whole: polygons, run-lengths as numbers, compressed run-lengths.

The decoders of pycocotools and hotcoco take most damaged text for a mask of something else, so it is checked
before it reaches them.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError

_Numbers = NDArray[np.int64]


def check_segmentations(
    segmentations: Sequence[Any], sizes: Sequence[tuple[int, int]], name: Callable[[int], str]
) -> None:
    """Refuse the first segmentation that is missing, malformed or of another size than its picture.

    Args:
        segmentations: what stands under `segmentation`; None where nothing does.
        sizes: (height, width) of the picture of each.
        name: says where entry `index` stands.
    Raises:
        UserError: one is not what it should be.
    """
    for index, (segmentation, size) in enumerate(zip(segmentations, sizes, strict=True)):
        if not _is_segmentation(segmentation, size):
            raise UserError(
                f"{name(index)}: segmentation is missing or malformed; expected polygons "
                "[[x1, y1, x2, y2, x3, y3, …], …] or a run-length {size, counts} of size "
                f"{list(size)} (height, width): correct it or do without masks"
            )
    compressed = [
        index
        for index, segmentation in enumerate(segmentations)
        if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str | bytes)
    ]
    damaged = _damaged(
        [segmentations[index]["counts"] for index in compressed],
        np.array([math.prod(sizes[index]) for index in compressed], dtype=np.int64),
    )
    if len(damaged):
        index = compressed[damaged[0]]
        text = segmentations[index]["counts"]
        raise UserError(
            f"{name(index)}: the counts {text[:40]!r}{'…' if len(text) > 40 else ''} of its segmentation are "
            f"damaged; expected COCO's compressed run-length of all {math.prod(sizes[index])} pixels: write "
            "the file again or remove the entry"
        )


def _is_segmentation(value: Any, size: tuple[int, int]) -> bool:
    if isinstance(value, dict):
        counts = value.get("counts")
        if isinstance(counts, list):
            fits = all(isinstance(count, int) and count >= 0 for count in counts)
            fits = fits and sum(counts) == math.prod(size)
        else:
            fits = isinstance(counts, str | bytes)
        return fits and value.get("size") == list(size)
    return isinstance(value, list) and bool(value) and all(_is_polygon(polygon) for polygon in value)


def _is_polygon(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 6
        and len(value) % 2 == 0
        and all(isinstance(number, int | float) and math.isfinite(number) for number in value)
    )


def _damaged(texts: Sequence[str | bytes], pixels: _Numbers) -> _Numbers:
    """Which compressed run-lengths do not decode to runs that fill their picture, in one pass over all.

    A character holds five bits of a number, the lowest first, and a sixth that says whether more follow; from
    the fourth number on it is the difference to the last but one (cocoapi's maskApi.c, rleFrString).
    """
    encoded = [text.encode() if isinstance(text, str) else text for text in texts]
    lengths = np.array([len(text) for text in encoded], dtype=np.int64)
    codes = np.frombuffer(b"".join(encoded), dtype=np.uint8).astype(np.int64) - 48
    owner = np.repeat(np.arange(len(encoded)), lengths)
    ends = (codes & 32) == 0
    unfinished = (lengths == 0) | ~np.append(ends, False)[np.cumsum(lengths) - 1]
    unreadable = np.bincount(owner[(codes < 0) | (codes > 63)], minlength=len(encoded)) > 0
    if (unfinished | unreadable).any():
        return np.flatnonzero(unfinished | unreadable)
    if not encoded:
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.append(True, ends[:-1]))
    owner = owner[starts]
    runs = _runs(codes, starts, owner)
    filled = np.zeros(len(encoded), dtype=np.int64)
    np.add.at(filled, owner, runs)
    negative = np.bincount(owner[runs < 0], minlength=len(encoded)) > 0
    return np.flatnonzero(negative | (filled != pixels))


def _runs(codes: _Numbers, starts: _Numbers, owner: _Numbers) -> _Numbers:
    """The run-lengths of all texts, from the first character and the text of each number."""
    lengths = np.diff(np.append(starts, len(codes)))
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << 5 * np.minimum(place, 12), starts)
    sign = (codes[starts + lengths - 1] & 16) > 0
    values -= sign.astype(np.int64) << 5 * np.minimum(lengths, 12)
    position = np.arange(len(owner)) - np.searchsorted(owner, owner)
    series = 3 * owner + np.where(position == 0, 0, 1 + position % 2)  # each adds up its own differences
    order = np.argsort(series, kind="stable")
    sums, first = np.cumsum(values[order]), np.searchsorted(series[order], series[order])
    runs = np.empty_like(values)
    runs[order] = sums - sums[first] + values[order][first]
    return runs
