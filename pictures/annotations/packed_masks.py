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

_LARGEST = 2**31 / 100  # pixels that hundredths in 32 bits reach


@dataclass(frozen=True)
class PackedMasks:
    """Checked segmentations of T objects.

    Attributes:
        hundredths: (H,) int32, the corners of all polygons whose numbers have at most two digits behind the
            point, as those of COCO's files.
        lengths: (P,) int32, how many numbers each of these polygons has.
        text: (B,) uint8, all other segmentations as JSON.
        starts: (T + 1, 3) int64, where in the three arrays each object begins.
    """

    hundredths: NDArray[np.int32]
    lengths: NDArray[np.int32]
    text: NDArray[np.uint8]
    starts: NDArray[np.int64]

    def read(self, row: int) -> Any:
        """The segmentation of one object; whole numbers of polygons come as floats."""
        (number, polygon, character), (stop, last, end) = self.starts[row : row + 2].tolist()
        if end > character:
            return json.loads(self.text[character:end].tobytes())
        parts = np.split(self.hundredths[number:stop] / 100, np.cumsum(self.lengths[polygon:last])[:-1])
        return [part.tolist() for part in parts]

    def digest(self) -> bytes:
        """Of all of them."""
        found = hashlib.sha256()
        for array in (self.hundredths, self.lengths, self.text, self.starts):
            found.update(array.data if array.size else b"")
        return found.digest()


class MaskPacker:
    """Packs checked segmentations, some at a time."""

    def __init__(self) -> None:
        # They grow without a copy of what they hold.
        self._hundredths, self._lengths, self._text, self._sizes = (bytearray() for _ in range(4))

    def add(self, segmentations: Sequence[Any]) -> None:
        """Appends objects."""
        outlines = [one if isinstance(one, list) else [] for one in segmentations]
        polygons = list(chain.from_iterable(outlines))
        lengths = np.array(list(map(len, polygons)), dtype=np.int32)
        numbers = np.fromiter(chain.from_iterable(polygons), np.float64, int(lengths.sum()))
        sizes = np.zeros((len(outlines), 3), dtype=np.int64)
        sizes[:, 1] = list(map(len, outlines))
        owner = np.repeat(np.arange(len(outlines)), sizes[:, 1])
        sizes[:, 0] = np.bincount(owner, lengths, len(outlines))
        hundredths = np.rint(numbers * 100)
        lossy = (hundredths / 100 != numbers) | (np.abs(numbers) >= _LARGEST)
        owners = np.repeat(owner, lengths)
        as_text = sizes[:, 1] == 0
        as_text[owners[lossy]] = True
        texts = [json.dumps(segmentations[row]).encode() for row in np.flatnonzero(as_text).tolist()]
        sizes[as_text] = 0
        sizes[as_text, 2] = list(map(len, texts))
        self._hundredths += hundredths[~as_text[owners]].astype(np.int32).data
        self._lengths += lengths[~as_text[owner]].data
        self._text += b"".join(texts)
        self._sizes += sizes.data

    def packed(self) -> PackedMasks:
        """All objects so far."""
        sizes = np.frombuffer(self._sizes, np.int64).reshape(-1, 3)
        return PackedMasks(
            np.frombuffer(self._hundredths, np.int32),
            np.frombuffer(self._lengths, np.int32),
            np.frombuffer(self._text, np.uint8),
            np.concatenate([np.zeros((1, 3), dtype=np.int64), np.cumsum(sizes, axis=0)]),
        )
