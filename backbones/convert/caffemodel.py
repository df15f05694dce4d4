"""Caffe's binary files: layers with their blobs (.caffemodel) and mean pictures (.binaryproto).

They are written in the wire format of protocol buffers (protobuf.dev, "Encoding"), read here as far as they
need it. Field numbers are those of caffe.proto: NetParameter, LayerParameter, V1LayerParameter, BlobProto,
BlobShape.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from backbones.weights.weight_files import check_start
from foundation.atomic_files import write_bytes
from foundation.bounds import DIMENSIONS
from foundation.errors import WeightsError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}
# Field of NetParameter that holds layers: their fields with name and blobs (the second form is of 2013).
_LAYERS = {100: (1, 7), 2: (4, 6)}
_NAME, _TYPE, _BLOBS = 1, 2, 7
_DATA, _DOUBLE_DATA, _SHAPE, _LEGACY_SHAPE = 5, 8, 7, (1, 2, 3, 4)


@dataclass(frozen=True)
class Layer:
    """A layer's learned arrays."""

    name: str
    blobs: list[Tensor]
    kind: str = ""


def read_caffemodel(path: Path) -> list[Layer]:
    """The layers that have blobs, in the file's order.

    Raises:
        WeightsError: no such file, broken, cut off, or without such layers.
    """
    layers = []
    with _message_in(path) as message:
        for number, layer in fields(message):
            if number in _LAYERS and not isinstance(layer, int):
                name_field, blobs_field = _LAYERS[number]
                parts = [(part, value) for part, value in fields(layer) if not isinstance(value, int)]
                names = [
                    bytes(value).decode("utf-8", "replace") for part, value in parts if part == name_field
                ]
                blobs = [_decode_blob(value) for part, value in parts if part == blobs_field]
                layers.append(Layer(names[-1] if names else "", blobs))
    layers = [layer for layer in layers if layer.blobs]
    if not layers:
        raise WeightsError(
            f"{path} holds no layer with weights; give a trained .caffemodel, or copy or download it again"
        )
    return layers


def read_mean(path: Path) -> tuple[float, float, float]:
    """Channel means of a mean picture (.binaryproto), in its order, which is BGR in Caffe.

    Raises:
        WeightsError: no such file, broken, or not of three channels.
    """
    with _message_in(path) as message:
        picture = _decode_blob(message)
    while picture.ndim > 3 and picture.shape[0] == 1:
        picture = picture[0]
    if picture.ndim != 3 or picture.shape[0] != 3:
        raise WeightsError(
            f"{path}: expected a mean picture (3, H, W), found {tuple(picture.shape)}; "
            "give the _mean.binaryproto that goes with the network"
        )
    corner = picture.double()[:, :1, :1]  # the mean of what is left over is exact for a constant picture
    first, second, third = (corner.flatten() + (picture - corner).mean((1, 2))).tolist()
    return first, second, third


def write_caffemodel(path: Path, name: str, layers: Sequence[Layer]) -> None:
    """Writes layers with names, types and blobs; a prototxt says how they are connected."""
    content = [encode_field(1, name.encode())]
    for layer in layers:
        blobs = b"".join(encode_field(_BLOBS, _encode_blob(blob)) for blob in layer.blobs)
        named = encode_field(_NAME, layer.name.encode()) + encode_field(_TYPE, layer.kind.encode())
        content.append(encode_field(100, named + blobs))
    write_bytes(path, b"".join(content))


def write_mean(path: Path, mean: Sequence[float]) -> None:
    """Writes a mean picture of 224² pixels, the size of the release, constant in each channel."""
    write_bytes(
        path, _encode_blob(torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1).expand(-1, 224, 224))
    )


@contextmanager
def _message_in(path: Path) -> Iterator[memoryview]:
    """The bytes of a file, and the remedy where they turn out to be no whole message."""
    check_start(path)
    try:
        yield memoryview(path.read_bytes())
    except WireError as error:
        raise WeightsError(f"{path} is broken or cut off ({error}); copy or download it again") from error


def _decode_blob(message: memoryview) -> Tensor:
    """float32, or float64 where the file says so."""
    data = {_DATA: bytearray(), _DOUBLE_DATA: bytearray()}
    shape: list[int] = []
    legacy = dict.fromkeys(_LEGACY_SHAPE, 0)
    for number, value in fields(message):
        if isinstance(value, int):
            if number in legacy:
                legacy[number] = value
        elif number in data:
            data[number] += value  # one number, or many packed
        elif number == _SHAPE:
            sizes = [[size] if isinstance(size, int) else varints(size) for _, size in fields(value)]
            shape = [size for several in sizes for size in several]
    field, dtype = (_DOUBLE_DATA, torch.float64) if data[_DOUBLE_DATA] else (_DATA, torch.float32)
    numbers, shape = data[field], shape or list(legacy.values())
    if len(shape) > DIMENSIONS:
        raise WireError(f"an array of {len(shape)} dimensions")
    if not numbers or len(numbers) != math.prod(shape) * dtype.itemsize:
        raise WireError(f"an array of shape {tuple(shape)} with {len(numbers) // dtype.itemsize} numbers")
    return torch.frombuffer(numbers, dtype=dtype).reshape(shape)


def _encode_blob(blob: Tensor) -> bytes:
    double = blob.dtype == torch.float64
    data = blob.detach().cpu().to(torch.float64 if double else torch.float32).numpy().tobytes()
    shape = b"".join(encode_varint(size) for size in blob.shape)
    return encode_field(_SHAPE, encode_field(1, shape)) + encode_field(
        _DOUBLE_DATA if double else _DATA, data
    )


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
