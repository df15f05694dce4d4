"""Masks of COCO segmentations: whether they are whole, and how they are drawn.

A segmentation is a list of polygons, a run-length as numbers, or a compressed run-length.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from foundation.errors import UserError
from pictures.annotations.field_checks import is_whole, shown

_Numbers = NDArray[np.int64]
_Window = tuple[int, int, int, int]  # top, left, height, width; pixels

_LONGEST_NUMBER = 7  # characters hold any run of a picture; COCO's code shifts more out of a word
_AT_ONCE = 2000  # segmentations checked together: their numbers stay in the cache
_SHORT_OUTLINE = 100_000  # pixels that every outline may have
_LONG_OUTLINE = 10**8  # and that none may exceed


def draw_mask(
    segmentation: Any,
    source: tuple[int, int],
    resized: tuple[int, int] | None = None,
    window: _Window | None = None,
) -> NDArray[np.bool_]:
    """The mask (height, width) of one object.

    Polygons are scaled and drawn anew by COCO's own rule, which is nearer to the outline than resizing the
    file's mask. Run-lengths are resized: each pixel takes the file's under its centre.

    Args:
        segmentation: polygons or a run-length, sound as of `check_segmentations`.
        source: (height, width) of the file.
        resized: (height, width) of the whole picture after resizing; None keeps the file's.
        window: (top, left, height, width) of the part wanted, in resized pixels; None wants everything.
    """
    resized = resized or source
    if isinstance(segmentation, list):
        polygons = [_scaled(polygon, source, resized) for polygon in segmentation]
        if resized == source and window is None:  # to the last pixel as COCO
            return _draw_all(polygons, *source).astype(bool)
        return _draw_polygons(polygons, window or (0, 0, *resized))
    segmentation = whole_run_length(segmentation)
    if isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *source)
    mask = coco_mask.decode(segmentation).astype(bool)
    top, left, height, width = window or (0, 0, *resized)
    rows = _under_centres(top, height, source[0], resized[0])
    return np.take(mask[rows], _under_centres(left, width, source[1], resized[1]), axis=1)


def whole_run_length(segmentation: dict[str, Any]) -> dict[str, Any]:
    """A sound run-length with 1 for 1.0, which decoders refuse or cut."""
    counts = segmentation["counts"]
    numbers = list(map(int, counts)) if isinstance(counts, list) else counts
    return {"size": list(map(int, segmentation["size"])), "counts": numbers}


def _scaled(
    polygon: Sequence[float], source: tuple[int, int], resized: tuple[int, int]
) -> NDArray[np.float64]:
    """(P, 2) x and y in resized pixels."""
    size = np.array(source[::-1], dtype=np.float64)
    # Drawing takes memory for every pixel of an edge, so corners far outside the picture are brought nearer.
    return np.clip(np.reshape(polygon, (-1, 2)), -size, 2 * size) * (resized[::-1] / size)


def _draw_polygons(
    polygons: Sequence[NDArray[np.float64]], window: tuple[int, int, int, int]
) -> NDArray[np.bool_]:
    """Only the pixels around the polygons are drawn: an object is seldom as large as its picture."""
    top, left, height, width = window
    corners = np.concatenate(polygons) - (left, top)
    x1, y1 = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, (width, height)).tolist()
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 0, (width, height)).tolist()
    mask = np.zeros((height, width), dtype=bool)
    if x1 < x2 and y1 < y2:
        moved = [polygon - (left + x1, top + y1) for polygon in polygons]
        mask[y1:y2, x1:x2] = _draw_all(moved, y2 - y1, x2 - x1)
    return mask


def _draw_all(polygons: Sequence[NDArray[np.float64]], height: int, width: int) -> NDArray[np.uint8]:
    flat = [polygon.ravel().tolist() for polygon in polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, height, width)))


def _under_centres(start: int, count: int, source: int, resized: int) -> NDArray[np.int64]:
    """For `count` resized rows from `start` on, the file's row under the centre of each."""
    centres = 2 * np.arange(start, start + count, dtype=np.int64) + 1  # in halves of pixels
    return centres * source // (2 * resized)


def check_segmentations(
    segmentations: Sequence[Any], sizes: Sequence[tuple[int, int]], name: Callable[[int], str]
) -> None:
    """Refuse, with a UserError, the first segmentation that is missing or not of a picture of its size.

    Args:
        segmentations: None where an entry has none.
        sizes: (height, width) of the picture of each.
        name: says where entry `index` stands.
    """
    for index, text in segmentation_problems(segmentations, sizes).items():
        raise UserError(f"{name(index)}: {text}")


def segmentation_problems(segmentations: Sequence[Any], sizes: Sequence[tuple[int, int]]) -> dict[int, str]:
    """What is wrong with segmentations, by their place; see `check_segmentations`.

    The decoders of pycocotools and hotcoco take most damaged text for a mask of something else.
    """
    pixels = np.array([height * width for height, width in sizes], dtype=np.int64)
    outlines = [index for index, value in enumerate(segmentations) if isinstance(value, list)]
    found = {
        outlines[place]: _outline_problem(segmentations[outlines[place]])
        for place in _bad_outlines([segmentations[index] for index in outlines], pixels[outlines])
    }
    compressed = []
    for index, value in enumerate(segmentations):
        if isinstance(value, list):
            continue
        if not _is_run_length(value, sizes[index]):
            found[index] = (
                f"segmentation is missing or malformed, got {shown(value, 42)}; expected polygons "
                "[[x1, y1, x2, y2, x3, y3, …], …] or a run-length {size, counts} of size "
                f"{list(sizes[index])} (height, width): correct it or do without masks"
            )
        elif not isinstance(value["counts"], list):
            compressed.append(index)
    texts = [segmentations[index]["counts"] for index in compressed]
    for place in _damaged(texts, pixels[compressed]).tolist():
        found[compressed[place]] = (
            f"the counts {shown(texts[place], 42)} of its segmentation are damaged; expected COCO's "
            f"compressed run-length of all {pixels[compressed[place]]} pixels: write the file again or "
            "remove the entry"
        )
    return dict(sorted(found.items()))


def _is_run_length(value: Any, size: tuple[int, int]) -> bool:
    if not isinstance(value, dict) or not _all_numbers(value.get("size")) or value["size"] != list(size):
        return False
    counts = value.get("counts")
    if isinstance(counts, list):
        return _all_numbers(counts) and all(map(is_whole, counts)) and _fill(counts, math.prod(size))
    return isinstance(counts, str | bytes)


def _all_numbers(values: Any) -> bool:
    return isinstance(values, list) and set(map(type, values)) <= {int, float}


def _fill(counts: Sequence[float], pixels: int) -> bool:
    return min(counts, default=0) >= 0 and sum(counts) == pixels


def _outline_problem(value: list[Any]) -> str:
    return (
        f"segmentation is missing or malformed, got {shown(value, 42)}; expected polygons [[x1, y1, x2, y2, "
        f"x3, y3, …], …] with corners and an outline of at most {_SHORT_OUTLINE:,} pixels or, in a larger "
        "picture, as many as it has: correct it or do without masks"
    )


def _bad_outlines(segmentations: Sequence[list[Any]], pixels: _Numbers) -> Iterator[int]:
    """The places of those that are not polygons which can be drawn; many sound ones are passed at once."""
    for start in range(0, len(segmentations), _AT_ONCE):
        some, size = segmentations[start : start + _AT_ONCE], pixels[start : start + _AT_ONCE]
        if not _are_polygons(some, size):
            for place, one in enumerate(some):
                if not _are_polygons([one], size[place : place + 1]):
                    yield start + place


def _are_polygons(segmentations: Sequence[list[Any]], pixels: _Numbers) -> bool:
    """Whether all of these segmentations are polygons that can be drawn in pictures of so many pixels."""
    polygons = list(chain.from_iterable(segmentations))
    if not all(segmentations) or set(map(type, polygons)) - {list}:
        return False
    lengths = np.array(list(map(len, polygons)), dtype=np.int64)
    flat = list(chain.from_iterable(polygons))
    if set(map(type, flat)) - {int, float}:
        return False
    try:
        numbers = np.fromiter(flat, np.float64, len(flat))
    except OverflowError:  # a whole number beyond all floats
        return False
    return can_be_drawn(numbers, lengths, pixels.repeat([len(one) for one in segmentations]))


@np.errstate(all="ignore")  # of infinite numbers and NaN no comparison is true
def can_be_drawn(numbers: NDArray[np.float64], lengths: _Numbers, pixels: _Numbers) -> bool:
    """Whether polygons have three corners or more, and outlines that are not too long.

    Args:
        numbers: (H,) x and y of all corners in turn.
        lengths: (P,) how many of the numbers each polygon has.
        pixels: (P,) of the picture of each.
    """
    if (lengths < 6).any() or (lengths % 2).any():
        return False
    x, y = numbers.reshape(-1, 2).T
    # COCO's code takes memory for every pixel of an outline and multiplies corners by 5 in 32 bits.
    most = np.clip(pixels, _SHORT_OUTLINE, _LONG_OUTLINE)
    after = np.cumsum(lengths // 2)
    first = after - lengths // 2
    following = np.arange(1, len(x) + 1)
    following[after - 1] = first
    steps = np.maximum(np.abs(x[following] - x), np.abs(y[following] - y))
    reach = np.maximum.reduceat(np.maximum(np.abs(x), np.abs(y)), first)
    return bool(((np.add.reduceat(steps, first) <= most) & (reach <= most)).all())


def _damaged(texts: Sequence[str | bytes], pixels: _Numbers) -> _Numbers:
    """Which compressed run-lengths do not decode to runs that fill their picture, in one pass over all.

    A character holds five bits of a number, the lowest first, and a sixth that says whether more follow; from
    the fourth number on it is the difference to the last but one (cocoapi's maskApi.c, rleFrString).
    """
    encoded = [text.encode(errors="surrogatepass") if isinstance(text, str) else text for text in texts]
    lengths = np.array([len(text) for text in encoded], dtype=np.int64)
    codes = np.frombuffer(b"".join(encoded), dtype=np.uint8).astype(np.int64) - 48
    owner = np.repeat(np.arange(len(encoded)), lengths)
    ends = (codes & 32) == 0
    unfinished = (lengths == 0) | ~np.append(ends, False)[np.cumsum(lengths) - 1]
    unreadable = np.bincount(owner[(codes < 0) | (codes > 63)], minlength=len(encoded)) > 0
    bad = unfinished | unreadable
    if bad.any():
        rest = np.flatnonzero(~bad)
        worse = rest[_damaged([encoded[index] for index in rest], pixels[rest])]
        return np.union1d(np.flatnonzero(bad), worse)
    if not encoded:
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.append(True, ends[:-1]))
    owner = owner[starts]
    runs = _runs(codes, starts, owner)
    filled = np.zeros(len(encoded), dtype=np.int64)
    np.add.at(filled, owner, runs)
    long = np.diff(np.append(starts, len(codes))) > _LONGEST_NUMBER
    wrong = np.bincount(owner[(runs < 0) | long], minlength=len(encoded)) > 0
    return np.flatnonzero(wrong | (filled != pixels))


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
