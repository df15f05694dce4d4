"""Pickles of NumPy arrays (.pkl): read without running anything that stands in them, and written.

Only the names below are admitted, and each stands for a class of this file, which stores what it is given.
Neither NumPy nor anything else a pickle names is called.
"""

import io
import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.weights.weight_files import UNREADABLE, check_start
from foundation.atomic_files import write_bytes
from foundation.errors import WeightsError

_DTYPES = {
    **{"f2": torch.float16, "f4": torch.float32, "f8": torch.float64, "b1": torch.bool, "u1": torch.uint8},
    **{"i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64},
}


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

    def __init__(self, code: str, *arguments: Any) -> None:
        if code not in _DTYPES:
            raise pickle.UnpicklingError(f"it holds an array of {code}, which is no number")
        self.dtype = _DTYPES[code]

    def __setstate__(self, state: Any) -> None:
        if state[1] == ">":
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
    ("collections", "OrderedDict"): OrderedDict,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which was not run")
        return _ADMITTED[module, name]


def read_arrays(path: Path) -> Any:
    """Content of a pickle of plain containers, text, numbers and NumPy arrays; these become tensors.

    Pickles of Python 2 are read as well. Nothing in the file is executed.

    Raises:
        WeightsError: no such file, broken, cut off, or more than that in it.
    """
    check_start(path)
    content = io.BytesIO(path.read_bytes())  # in memory, a false length cannot ask for more than there is
    try:
        return _unwrap(_Reader(content, encoding="latin1").load())
    except UNREADABLE as error:
        raise WeightsError(
            f"{path} is broken, or holds more than arrays ({error}); "
            "copy or download it again, or save it anew with arrays alone"
        ) from error


def write_arrays(path: Path, content: dict[str, Any]) -> None:
    """Pickles plain containers in which tensors become NumPy arrays.

    Raises:
        WeightsError: a tensor has a type that NumPy lacks.
    """
    write_bytes(path, pickle.dumps(_wrap(content), protocol=4))


def _tensor(numbers: Any, dtype: Any, shape: Any, fortran: Any) -> Tensor:
    if not isinstance(dtype, _Dtype) or not isinstance(numbers, bytes | bytearray | str):
        raise pickle.UnpicklingError("it holds an array without numbers")
    raw = bytearray(numbers.encode("latin1") if isinstance(numbers, str) else numbers)  # str: Python 2
    if any(size < 0 for size in shape) or len(raw) != math.prod(shape) * dtype.dtype.itemsize:
        raise pickle.UnpicklingError(f"an array of shape {tuple(shape)} has {len(raw)} bytes")
    if not raw:
        return torch.empty(shape, dtype=dtype.dtype)
    tensor = torch.frombuffer(raw, dtype=dtype.dtype)
    if fortran:
        return tensor.reshape(shape[::-1]).permute(*reversed(range(len(shape)))).contiguous()
    return tensor.reshape(shape)


def _unwrap(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unwrap(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_unwrap(item) for item in value]
    return value.tensor if isinstance(value, _Array) else value


def _wrap(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _wrap(item) for key, item in value.items()}
    if not isinstance(value, Tensor):
        return value
    if value.dtype not in _DTYPES.values():
        raise WeightsError(f"NumPy has no {value.dtype}; convert the weights to float32 first")
    return value.detach().cpu().contiguous().numpy()
