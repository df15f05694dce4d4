"""Pickles of NumPy arrays, read without running anything that stands in them.

Only the names below are admitted, and each stands for a class of this file, which stores what it is given.
Neither NumPy nor anything else that a pickle names is called.
"""

import io
import math
import pickle
import struct
import sys
from collections import OrderedDict
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from foundation.bounds import DIMENSIONS, NUMBER_BYTES, check_unfolded
from foundation.file_reading import UNREADABLE
from foundation.inert_objects import Dropped

_DTYPES = {
    **{"f2": torch.float16, "f4": torch.float32, "f8": torch.float64, "b1": torch.bool, "u1": torch.uint8},
    **{"i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64},
}


class PickleError(ValueError):
    """Bytes that are no whole pickle of arrays and plain containers; the message says why, briefly."""


class _Name:
    """Stands for what is only named, as the class of an array. Every stand-in refuses to be changed."""

    def __init__(self, *arguments: Any) -> None:
        raise pickle.UnpicklingError("a class is called that is only named in whole files")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("an object is changed that holds no state")


class _Bytes(bytes):
    """Stands for `_codecs.encode`, with which Python 3 writes bytes into old pickles."""

    def __new__(cls, text: str, encoding: str) -> "_Bytes":
        return super().__new__(cls, text.encode("latin1"))

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("bytes are changed")


class _Dtype:
    """Stands for `numpy.dtype`; the byte order comes as state."""

    def __init__(self, code: str | bytes, *arguments: Any) -> None:
        code = code.decode("latin1") if isinstance(code, bytes) else code
        if code not in _DTYPES:
            raise pickle.UnpicklingError(f"it holds an array of {code}, which is no number")
        self.dtype = _DTYPES[code]

    def __setstate__(self, state: Any) -> None:
        if state[1] in (">", b">"):
            raise pickle.UnpicklingError("it holds big-endian numbers")


class _Array:
    """Stands for `numpy.core.multiarray._reconstruct`; shape, dtype and numbers come as state."""

    tensor: Tensor

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, numbers = state
        self.tensor = _tensor(numbers, dtype, shape, fortran)


class _Buffer(_Array):
    """Stands for `numpy.core.numeric._frombuffer`, the form of protocol 5."""

    def __init__(self, numbers: Any, dtype: Any, shape: Any, order: Any) -> None:
        self.tensor = _tensor(numbers, dtype, shape, order == "F")


class _Scalar(_Array):
    """Stands for `numpy.core.multiarray.scalar`, a single number."""

    def __init__(self, dtype: Any, numbers: Any) -> None:
        self.tensor = _tensor(numbers, dtype, (), False)


_ADMITTED: dict[tuple[str, str], type] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Name,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
    ("argparse", "Namespace"): Dropped,
    ("collections", "OrderedDict"): OrderedDict,
}


class _Reader(pickle._Unpickler):
    """Python's own reader in Python: the one in C makes room for whatever number a pickle counts up to.

    Tuples become lists here already: as a key, a tuple within tuples would be hashed as often as it is named.
    """

    def __init__(self, content: bytes, text: str) -> None:
        self.file, self.length = io.BytesIO(content), len(content)
        super().__init__(self.file, encoding=text)

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which was not run")
        return _ADMITTED[module, name]


def _load_tuple(reader: Any, count: int) -> None:
    start = len(reader.stack) - count
    if start < 0:
        raise pickle.UnpicklingError("a tuple needs more values than there are")
    reader.stack[start:] = [reader.stack[start:]]


def _load_marked_tuple(reader: Any) -> None:
    items = reader.pop_mark()  # puts another stack in place
    reader.append(items)


def _load_frame(reader: Any) -> None:
    (length,) = struct.unpack("<Q", reader.read(8))
    if length > reader.length - reader.file.tell():
        raise pickle.UnpicklingError(f"a frame of {length} bytes is cut off")
    reader._unframer.load_frame(length)


def _load_bytearray(reader: Any) -> None:
    (length,) = struct.unpack("<Q", reader.read(8))
    reader.append(bytearray(reader.read(min(length, sys.maxsize))))


def _refuse_set(reader: Any) -> None:
    raise pickle.UnpicklingError("it holds a set")


def _refuse_number(reader: Any) -> None:
    raise pickle.UnpicklingError(f"it holds a number of more than {NUMBER_BYTES} bytes")


_Reader.dispatch = pickle._Unpickler.dispatch | {
    pickle.TUPLE[0]: _load_marked_tuple,
    pickle.TUPLE1[0]: partial(_load_tuple, count=1),
    pickle.TUPLE2[0]: partial(_load_tuple, count=2),
    pickle.TUPLE3[0]: partial(_load_tuple, count=3),
    pickle.EMPTY_TUPLE[0]: partial(_load_tuple, count=0),
    pickle.FRAME[0]: _load_frame,
    pickle.BYTEARRAY8[0]: _load_bytearray,
    pickle.LONG4[0]: _refuse_number,
    **{code[0]: _refuse_set for code in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET)},
}


def read_arrays(content: bytes, *, text: Literal["latin1", "bytes"] = "latin1") -> Any:
    """Content of a pickle of plain containers, text, numbers and NumPy arrays; these become tensors.

    Tuples become lists. Nothing in the pickle is executed.

    Args:
        content: the whole pickle; no number in it makes the reading cost more than its length.
        text: what the text of Python 2 becomes, str by "latin1" or bytes.
    Raises:
        PickleError: it is broken, cut off, holds more than that, or stands for more than its bytes (see
            `foundation.bounds`).
    """
    try:
        value = _Reader(content, text).load()
        check_unfolded(value, len(content))
        return _unwrap(value, {})
    except UNREADABLE as error:
        raise PickleError(str(error) or type(error).__name__) from error


def _tensor(numbers: Any, dtype: Any, shape: Any, fortran: Any) -> Tensor:
    if not isinstance(dtype, _Dtype) or not isinstance(numbers, bytes | bytearray | str):
        raise pickle.UnpicklingError("it holds an array without numbers")
    raw = bytearray(numbers.encode("latin1") if isinstance(numbers, str) else numbers)  # str: Python 2
    if len(shape) > DIMENSIONS or any(size < 0 for size in shape):
        raise pickle.UnpicklingError(f"an array has {len(shape)} dimensions, or one below 0")
    if len(raw) != math.prod(shape) * dtype.dtype.itemsize:
        raise pickle.UnpicklingError(f"an array of shape {tuple(shape)} has {len(raw)} bytes")
    if not raw:
        return torch.empty(shape, dtype=dtype.dtype)
    tensor = torch.frombuffer(raw, dtype=dtype.dtype)
    if fortran:
        return tensor.reshape(shape[::-1]).permute(*reversed(range(len(shape)))).contiguous()
    return tensor.reshape(shape)


def _unwrap(value: Any, known: dict[int, Any]) -> Any:
    """Puts tensors for arrays; `known` visits what a pickle names many times once, by its id."""
    if not isinstance(value, dict | list):
        return value.tensor if isinstance(value, _Array) else value
    if id(value) not in known:
        if isinstance(value, dict):
            known[id(value)] = {key: _unwrap(item, known) for key, item in value.items()}
        else:
            known[id(value)] = [_unwrap(item, known) for item in value]
    return known[id(value)]
