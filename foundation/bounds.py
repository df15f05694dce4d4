"""How far the numbers in files of others are believed: bounds on work that is not in proportion to the bytes.

A file of a few bytes can name a size of terabytes, or one list a thousand times inside another. What is read
from such a file must cost no more than its length, or than the small amounts stated here.
"""

import zipfile
from pathlib import Path
from typing import Any

# Values in containers, each counted as often as it is named. Containers that share others are rare in files
# of weights or settings, and small.
UNFOLDED = 100_000
DIMENSIONS = 32  # of an array; NumPy before 2.0 has no more
NUMBER_BYTES = 255  # of a whole number
EXPANDED_BYTES = 16 << 20  # of tensors that repeat what is stored, all together
LABEL_BYTES = 16 << 20  # of a .json or .cls beside a picture in a shard
NAME_BYTES = 1 << 20  # of a long name in a tar archive


class BoundsError(ValueError):
    """What a file says of its sizes is beyond its bytes; the message says what, briefly."""


def check_archive(path: Path) -> None:
    """Raises a BoundsError if the entries of a zip archive, unpacked, are larger than the file.

    torch.save and numpy.savez store what they write as it is. A deflated entry can be a thousand times as
    large as its bytes, and several entries can lie in one place.

    Raises:
        zipfile.BadZipFile, OSError: it is no archive, or cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > path.stat().st_size:
        text = (
            f"its entries unpack to {size:,} bytes from {path.stat().st_size:,}, expected uncompressed ones"
        )
        raise BoundsError(text)


def check_unfolded(value: Any, allowed: int = 0) -> None:
    """Raises a BoundsError if containers hold themselves, or stand for too many values when written out.

    Args:
        allowed: so many values may be there if that is more than `UNFOLDED`, for instance the file's bytes.
    """
    if (count := _unfolded(value, {})) > max(allowed, UNFOLDED):
        raise BoundsError(f"its containers name others so often that they stand for {count:.0e} values")


def _unfolded(value: Any, known: dict[int, int]) -> int:
    """The number of values, each container visited once, by its id."""
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return 1
    if id(value) not in known:
        known[id(value)] = 0
        items = value.values() if isinstance(value, dict) else value
        keys = [key for key in value if isinstance(key, tuple | frozenset)] if isinstance(value, dict) else ()
        count = 1 + sum(_unfolded(item, known) for part in (keys, items) for item in part)
        known[id(value)] = min(count, 1 << 62)
    elif known[id(value)] == 0:
        raise BoundsError("it holds a container that holds itself")
    return known[id(value)]
