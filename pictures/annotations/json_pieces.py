"""A large JSON object read piece by piece, so that its lists are never in memory as a whole."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from pydantic_core import from_json

_BLOCK = 1 << 20  # bytes read at once: the values in them stay in the cache
_SPACE = b" \t\r\n"
_BETWEEN = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*(?=\{)")  # two entries of a list
_LAST = re.compile(rb"\}[ \t\r\n]*\]")  # the end of a list of entries
_NEAR = 1 << 16  # bytes at the end of a block in which a place between two entries is looked for first


def read_sections(
    file: BinaryIO, in_pieces: Mapping[str, Callable[[bytes], Any]]
) -> Iterator[tuple[str, Any]]:
    """The names and values of one JSON object in UTF-8, in the order of the file.

    Args:
        in_pieces: names whose values come as several lists, one after the other, which together are the
            file's; each value must be a list of objects. Their names may come up to thousands of times. By
            the name, what parses the text of such a list, or raises ValueError where it is no JSON.
    Raises:
        ValueError: the file holds something else, or a name twice. What is legal JSON may be refused too: a
            reader of the whole decides and says what is wrong.
    """
    rest = _Rest(file)
    rest.take(b"{")
    seen = set()
    while True:
        name = rest.value()
        if not isinstance(name, str) or name in seen:
            raise ValueError(f"expected another name, got {name!r}")
        seen.add(name)
        rest.take(b":")
        if name in in_pieces:
            for piece in rest.pieces():
                yield name, in_pieces[name](piece)
        else:
            yield name, rest.value()
        if rest.take(b",}") == b"}":
            break
    if rest.next():
        raise ValueError("the value does not end the file")


class _Rest:
    """What of a file was not read yet."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.data = file, b""

    def more(self) -> None:
        """Reads on; at least as much as there is, so that a long value is not looked at too often."""
        new = self.file.read(max(_BLOCK, len(self.data)))
        if not new:
            raise ValueError("the file ends early")
        self.data += new

    def next(self) -> bytes:
        """The next character that is no space, nothing at the end of the file."""
        self.data = self.data.lstrip(_SPACE)
        while not self.data and (new := self.file.read(_BLOCK)):
            self.data = new.lstrip(_SPACE)
        return self.data[:1]

    def take(self, expected: bytes) -> bytes:
        """Reads one of the expected characters."""
        found = self.next()
        if not found or found not in expected:
            raise ValueError(f"expected {expected!r}, got {found!r}")
        self.data = self.data[1:]
        return found

    def value(self) -> Any:
        """Reads a whole value."""
        self.next()
        while True:
            try:
                # Latin 1 has a character for each byte, so that the place where the value ends is the same.
                _, end = json.JSONDecoder().raw_decode(self.data.decode("latin-1"))
            except ValueError:
                end = len(self.data)
            if end < len(self.data):  # else it may go on
                break
            self.more()
        value, self.data = from_json(self.data[:end]), self.data[end:]
        return value

    def pieces(self) -> Iterator[bytes]:
        """Reads a list of objects, at least one piece of it as a list of its own.

        A piece that is a list by itself, in brackets, ends where an entry of the whole ends: a parser of the
        whole comes there in the same state.
        """
        self.take(b"[")
        if self.next() == b"]":
            self.take(b"]")
            yield b"[]"
            return
        while True:
            if last := _LAST.search(self.data):
                yield b"[%b]" % self.data[: last.start() + 1]
                self.data = self.data[last.end() :]
                return
            near = list(_BETWEEN.finditer(self.data, max(0, len(self.data) - _NEAR)))
            if between := near or list(_BETWEEN.finditer(self.data)):
                yield b"[%b]" % self.data[: between[-1].start() + 1]
                self.data = self.data[between[-1].end() :]
            self.more()
