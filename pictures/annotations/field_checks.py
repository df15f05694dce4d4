"""The legal types and values of the fields of annotations and result records, and what is wrong with others.

JSON does not tell 96 from 96.0, so a float that is a whole number passes for one. A truth value is no number,
though Python counts it as one, and neither is text, even "1".
"""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError

FARTHEST = 1e9  # pixels from the corner; squares of it keep their digits, and no picture is as large
_MOST_PIXELS = 2**31 - 1  # run-lengths of COCO's tools count in 32 bits
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class Problem(NamedTuple):
    """One reason for which the loader of a data set refuses an annotation file."""

    check: str  # its name in docs/doctor.md
    where: str  # the entry, such as "annotation 11"; "" means the file as a whole
    text: str  # what is wrong, and the remedy
    row: tuple[str, int] | None = None  # section and row of an entry of a COCO file that cannot be used

    def error(self, file: str | Path) -> UserError:
        """As an error; `file` is named first."""
        return UserError(": ".join(part for part in (str(file), self.where, self.text) if part))


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def is_whole(value: Any) -> bool:
    """Whether this is a whole number, of any size if it is no float."""
    if type(value) is int:
        return True
    if isinstance(value, float | np.floating):
        return bool(value == np.floor(value)) and math.isfinite(value)
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    """Whether this is text that a file name or a terminal can hold: not empty, no NUL, no half characters."""
    if not isinstance(value, str) or not value or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_id(value: Any) -> bool:
    """Whether this can name a picture or an object: a whole number or text."""
    return is_whole(value) or is_text(value)


def is_flag(value: Any) -> bool:
    """Whether this is 0, 1 or null, which says nothing and counts as 0."""
    return value is None or (is_whole(value) and value in (0, 1))


def is_area(value: Any) -> bool:
    """Whether this is an area in square pixels, or null, which says nothing."""
    return value is None or (is_number(value) and 0 <= value <= FARTHEST**2)


def is_size(height: Any, width: Any) -> bool:
    """Whether a picture can have this size: whole numbers of pixels above 0, fewer than 2³¹ in all."""
    return is_whole(height) and is_whole(width) and min(height, width) > 0 and height * width <= _MOST_PIXELS


def decimal(text: str) -> float:
    """The number that a text of an XML file writes in digits; NaN where it writes none."""
    return float(text) if _DECIMAL.fullmatch(text) else math.nan


def shown(value: Any, width: int = 80) -> str:
    """A value as messages give it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def check_known(values: Sequence, known: set, field: str, name: Callable[[int], str]) -> None:
    """Refuse the first value that is not known with a UserError; `name(index)` says where it stands."""
    if not all_known(values, known):
        index = next(i for i, value in enumerate(values) if not is_known(value, known))
        raise UserError(f"{name(index)}: {unknown_id(values[index], field, known)}")


def all_known(values: Sequence, known: set) -> bool:
    """Whether every value is an id among those known."""
    if set(map(type, values)) <= {int, str}:
        return known.issuperset(values)
    return all(is_known(value, known) for value in values)


def is_known(value: Any, known: set) -> bool:
    """Whether this is an id among those known; True is none, though a set that has 1 has True."""
    return is_id(value) and value in known


def unknown_id(value: Any, field: str, known: set) -> str:
    """What a message says of an id in `field` that is not among those known."""
    examples = ", ".join(str(value) for value in sorted(known, key=str)[:5])
    return (
        f"{field} {shown(value)} is not in the annotation file, which has {len(known)} "
        f"({examples}{', …' if len(known) > 5 else ''}); correct or remove the entry"
    )


def as_numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    """Numbers (T,); NaN or infinite where one is no finite number."""
    if set(map(type, values)) <= {int, float}:
        with suppress(OverflowError):  # a whole number beyond all floats
            return np.array(values, dtype=np.float64)
    return np.array([value if is_number(value) else np.nan for value in values], dtype=np.float64)


def xywh_boxes(entries: Sequence[dict[str, Any]], name: Callable[[int], str]) -> NDArray[np.float64]:
    """The `bbox` of every entry, (T, 4) x, y, width, height; `name(index)` says where a wrong one stands.

    Raises:
        UserError: one is not four finite numbers, or has a negative size.
    """
    rows = [entry["bbox"] for entry in entries]
    boxes = as_boxes(rows)
    for index in np.flatnonzero(are_bad_boxes(boxes))[:1]:
        raise UserError(f"{name(index)}: {bad_box(rows[index])}")
    return boxes


def bad_box(value: Any) -> str:
    """What a message says of a `bbox` that is none."""
    return (
        f"bbox is {shown(value)}, expected [x, y, width, height] in pixels with finite numbers up to 1e9 "
        "and sizes of at least 0; correct or remove the entry"
    )


def are_bad_boxes(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of boxes (T, 4) x, y, width, height are none: as `are_far_boxes`, or of negative size."""
    return np.asarray(are_far_boxes(boxes) | (boxes[:, 2:] < 0).any(axis=1))


def are_far_boxes(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of boxes (…, 4) hold NaN or a number beyond `FARTHEST`."""
    return np.asarray(~(np.abs(boxes) <= FARTHEST).all(axis=-1))


def as_boxes(rows: Sequence[Any]) -> NDArray[np.float64]:
    """Boxes (T, 4); NaN where one is not a list of four numbers."""
    if set(map(type, rows)) <= {list, tuple} and set(map(len, rows)) <= {4}:
        # One flat list becomes an array three times as fast as rows do; numbers that are none remain NaN.
        flat = list(chain.from_iterable(rows))
        with suppress(OverflowError):
            if set(map(type, flat)) <= {int, float}:
                return np.fromiter(flat, np.float64, len(flat)).reshape(-1, 4)
    sound = [row if _has_four_numbers(row) else [np.nan] * 4 for row in rows]
    return np.array(sound, dtype=np.float64).reshape(-1, 4)


def _has_four_numbers(row: Any) -> bool:
    if isinstance(row, np.ndarray):
        return row.shape == (4,) and row.dtype.kind in "iuf"
    return isinstance(row, list | tuple) and len(row) == 4 and all(map(is_number, row))
