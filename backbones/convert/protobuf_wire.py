"""The wire format of protocol buffers, as far as Caffe's files need it (protobuf.dev, "Encoding")."""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """Bytes that are no message, or one that was cut off."""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message in the file's order.

    Yields:
        Field number, and an int (varint) or the value's bytes (numbers of fixed width, strings, messages,
        packed numbers).
    Raises:
        WireError: the message ends inside a field, or has one of an unknown kind.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise WireError(f"field number 0 at byte {position}")
        if kind == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == BYTES:
            length, position = _varint(message, position)
        elif kind in _WIDTH:
            length = _WIDTH[kind]
        else:
            raise WireError(f"unknown wire type {kind} at byte {position}")
        if length > len(message) - position:
            raise WireError(f"field {number} ends {length - len(message) + position} bytes behind the end")
        yield number, message[position : position + length]
        position += length


def varints(values: memoryview) -> list[int]:
    """Packed integers."""
    found, position = [], 0
    while position < len(values):
        value, position = _varint(values, position)
        found.append(value)
    return found


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The integer at a position, and the position behind it; seven bits a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise WireError("it ends inside a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise WireError("a number of more than ten bytes")


def encode_varint(value: int) -> bytes:
    """An integer of at least 0."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def encode_field(number: int, value: bytes) -> bytes:
    """A field of bytes: a string, a message or packed numbers."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(value)) + value
