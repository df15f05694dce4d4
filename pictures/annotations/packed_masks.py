"""Segmentations of a whole set in a few arrays.

As Python objects they would take ten times the memory, and every worker process would copy them page by page
(see `detection/data/annotations.py`).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictures.annotations.outline_text import LARGEST, Outlines

_AT_ONCE = 1 << 20  # numbers


@dataclass(frozen=True)
class PackedMasks:
    """Checked segmentations of T objects.

    The corners of all polygons whose numbers have at most two digits behind the point, as those of COCO's
    files, are kept in hundredths. Those of pictures of up to 655 pixels, as COCO's, need 16 bits.

    Attributes:
        low: (H,) uint16, these numbers modulo 2^16.
        high: (H,) int16, their multiples of 2^16; (0,) where all are 0.
        lengths: (P,) int32, how many numbers each of these polygons has.
        text: (B,) uint8, all other segmentations as JSON.
        starts: (T + 1, 3) int64, where numbers, polygons and text of each object begin.
    """

    low: NDArray[np.uint16]
    high: NDArray[np.int16]
    lengths: NDArray[np.int32]
    text: NDArray[np.uint8]
    starts: NDArray[np.int64]

    def hundredths(self, start: int, stop: int) -> NDArray[np.int32]:
        """Some of the numbers."""
        low = self.low[start:stop].astype(np.int32)
        return low + (self.high[start:stop].astype(np.int32) << 16) if self.high.size else low

    def read(self, row: int) -> Any:
        """The segmentation of one object; whole numbers of polygons come as floats."""
        (number, polygon, character), (stop, last, end) = self.starts[row : row + 2].tolist()
        if end > character:
            return json.loads(self.text[character:end].tobytes())
        corners = self.hundredths(number, stop) / 100
        return [part.tolist() for part in np.split(corners, np.cumsum(self.lengths[polygon:last])[:-1])]

    def digest(self) -> bytes:
        """Of all of them."""
        found = hashlib.sha256()
        for start in range(0, len(self.low), _AT_ONCE):
            found.update(self.hundredths(start, start + _AT_ONCE).data)
        for array in (self.lengths, self.text, self.starts):
            found.update(array.data if array.size else b"")
        return found.digest()


class MaskPacker:
    """Packs checked segmentations, some at a time."""

    def __init__(self) -> None:
        # They grow without a copy of what they hold.
        self._low, self._high, self._lengths, self._text, self._sizes = (bytearray() for _ in range(5))

    def add(self, segmentations: Sequence[Any], outlines: Outlines | None = None) -> None:
        """Appends objects; those whose `outlines` are given need no other segmentation."""
        rows, hundredths, lengths, counts = _outlines_of(segmentations) if outlines is None else outlines
        others = np.delete(np.arange(len(segmentations)), rows).tolist()
        texts = [json.dumps(segmentations[row]).encode() for row in others]
        sizes = np.zeros((len(segmentations), 3), dtype=np.int32)
        sizes[rows, 0] = np.bincount(np.repeat(np.arange(len(rows)), counts), lengths, len(rows))
        sizes[rows, 1] = counts
        sizes[others, 2] = list(map(len, texts))
        high = (hundredths >> 16).astype(np.int16)
        if not self._high and high.any():
            self._high = bytearray(len(self._low))
        self._low += hundredths.astype(np.uint16).data
        self._high += high.data if self._high or high.any() else b""
        self._lengths += lengths.astype(np.int32).data
        self._text += b"".join(texts)
        self._sizes += sizes.data

    def packed(self) -> PackedMasks:
        """All objects so far."""
        sizes = np.frombuffer(self._sizes, np.int32).reshape(-1, 3)
        starts = np.zeros((len(sizes) + 1, 3), dtype=np.int64)
        np.cumsum(sizes, axis=0, out=starts[1:])
        return PackedMasks(
            np.frombuffer(self._low, np.uint16),
            np.frombuffer(self._high, np.int16),
            np.frombuffer(self._lengths, np.int32),
            np.frombuffer(self._text, np.uint8),
            starts,
        )


def _outlines_of(segmentations: Sequence[Any]) -> Outlines:
    """Of objects with polygons whose numbers in hundredths are exact in 32 bits."""
    outlines = [one if isinstance(one, list) else [] for one in segmentations]
    polygons = list(chain.from_iterable(outlines))
    lengths = np.array(list(map(len, polygons)), dtype=np.int64)
    numbers = np.fromiter(chain.from_iterable(polygons), np.float64, int(lengths.sum()))
    counts = np.array(list(map(len, outlines)), dtype=np.int64)
    owner = np.repeat(np.arange(len(outlines)), counts)
    owners = np.repeat(owner, lengths)
    hundredths = np.rint(numbers * 100)
    kept = counts > 0
    kept[owners[(hundredths / 100 != numbers) | (np.abs(numbers) >= LARGEST / 100)]] = False
    whole = hundredths[kept[owners]].astype(np.int64)
    return Outlines(np.flatnonzero(kept), whole, lengths[kept[owner]], counts[kept])
