"""Where the members of a tar archive lie, so that any of them can be read alone.

tarfile takes a damaged header for the end of the archive, so that the rest would be missing from training
without a word, and takes several times as long: minutes for ImageNet, at every start.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from foundation.bounds import NAME_BYTES

BLOCK = 512
FILES, FOLDERS, LONG_NAME, EXTENDED, GLOBAL = b"0\0007", b"5", b"L", b"x", b"g"


class TarMember(NamedTuple):
    """A file in an archive: its name, and where its content lies, in bytes."""

    name: str
    offset: int
    size: int


def list_members(path: Path) -> Iterator[TarMember]:
    """The files in an uncompressed archive (POSIX ustar or pax, GNU), in order.

    Raises:
        ValueError: the archive is damaged, cut off, or holds links or sparse files.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        length, offset, name = os.fstat(file.fileno()).st_size, 0, None
        while True:
            header = os.pread(file.fileno(), BLOCK, offset)
            if header.count(0) == BLOCK:
                if any(os.pread(file.fileno(), 1 << 20, offset)):
                    raise ValueError(f"data after the end mark at byte {offset}")
                return
            size, kind = _parse(header, offset)
            content = offset + BLOCK
            offset = content + -(-size // BLOCK) * BLOCK
            if offset > length:
                raise ValueError(f"cut off at byte {length}")
            if kind in LONG_NAME + EXTENDED:
                if size > NAME_BYTES:
                    raise ValueError(f"damaged: a name of {size} bytes at byte {content}")
                name = _long_name(os.pread(file.fileno(), size, content), kind) or name
                continue
            if kind in FILES:
                yield TarMember(name or _name(header), content, size)
            elif kind not in FOLDERS + GLOBAL:
                raise ValueError(f"{name or _name(header)} is a link or no plain file")
            name = None


def _parse(header: bytes, offset: int) -> tuple[int, bytes]:
    """Size and kind of the member that a header announces."""
    if len(header) < BLOCK:
        raise ValueError(f"no end mark at byte {offset}: cut off")
    # The checksum counts its own eight bytes as spaces.
    total = sum(header) - sum(header[148:156]) + 8 * 32
    numbers = [field.strip(b" \0") for field in (header[124:136], header[148:156])]
    # Python would read a sign and underscores, too: a member of negative size would come again for ever.
    octal = all(re.fullmatch(rb"[0-7]*", number) for number in numbers)
    size, expected = (int(number or b"0", 8) for number in numbers) if octal else (0, -1)
    if total != expected:
        raise ValueError(f"no header at byte {offset}")
    return size, header[156:157]


def _name(header: bytes) -> str:
    name = header[:100].rstrip(b"\0")
    prefix = header[345:500].rstrip(b"\0") if header[257:263] == b"ustar\0" else b""
    return os.fsdecode(prefix + b"/" + name if prefix else name)


def _long_name(content: bytes, kind: bytes) -> str | None:
    """The name that a GNU or pax header gives to the next member, if it does."""
    if kind == LONG_NAME:
        return os.fsdecode(content.rstrip(b"\0"))
    start = 0
    while start < len(content):
        # "length key=value\n", where length counts the whole record.
        space = content.index(b" ", start, start + 12)
        length = int(content[start:space])
        if not space - start < length <= len(content) - start:
            raise ValueError(
                f"damaged: a pax record of {length} bytes, where {len(content) - start} are left"
            )
        key, _, value = content[space + 1 : start + length - 1].partition(b"=")
        if key in (b"size", b"GNU.sparse.major"):
            raise ValueError(f"a member of a kind that is not read ({key.decode()})")
        if key == b"path":
            return value.decode()
        start += length
    return None
