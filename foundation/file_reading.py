"""Files that people bring, read into a value or refused in one line that names the file.

`UNREADABLE` is the one table of what readers raise at content that is not what they expect. A reader of any
format runs in a block of `readable`, which makes one clear error of all of them.
"""

import gc
import json
import pickle
import re
import struct
import tokenize
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from foundation.bounds import check_archive
from foundation.errors import UserError, plural

UNREADABLE = (
    # The file system: missing, a folder, not allowed, a name too long, a failing disk.
    OSError,
    # Text: wrong encodings, unpaired surrogates, digits without end; also JSON's errors, and NUL in a name.
    ValueError,
    # Values no number holds, nesting beyond the stack, sizes beyond memory, an early end.
    *(ArithmeticError, RecursionError, MemoryError, EOFError),
    # Single formats. XML's error is a SyntaxError; pickles and torch raise whatever their commands run into.
    *(yaml.YAMLError, SyntaxError, struct.error, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError),
    *(LookupError, TypeError, AttributeError, AssertionError, RuntimeError),
    tokenize.TokenError,  # NumPy reads an array's header as Python's source
)

_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z][\w.-]*)["']""")


@contextmanager
def readable(where: str | Path, remedy: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Within the block every error of `UNREADABLE` becomes one that says what is wrong with the file.

    Args:
        where: the file, or whatever else names the content.
        remedy: what was expected, and what to do.
        kind: of the error that is raised.
    Raises:
        UserError: "<where>: <what is wrong>; <remedy>". One from within the block leaves as it is.
    """
    try:
        yield
    except UserError:
        raise
    except UNREADABLE as error:
        raise kind(f"{where}: {why_unreadable(error)}; {remedy}") from error


def why_unreadable(error: BaseException) -> str:
    """One line on what is wrong with a file at which a reader raised this error."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder, expected a file"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    if isinstance(error, UnicodeDecodeError):
        return f"is no text in {error.encoding} (byte {error.start} is {error.object[error.start]:#04x})"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    reason = " ".join(str(error).split())
    return f"is damaged or of another kind ({reason[:300] or type(error).__name__})"


def read_text(path: Path, remedy: str) -> str:
    """The text of a UTF-8 file, without the byte order mark that some editors write.

    Raises:
        UserError: it cannot be read, or is no such text; the message ends with the remedy.
    """
    with readable(path, remedy):
        return path.read_text(encoding="utf-8-sig")


def read_json(path: Path, remedy: str) -> Any:
    """The value in a JSON file, in any of Unicode's encodings; for the errors see `read_text`."""
    from pydantic_core import from_json  # only here, since `backbones` imports this module

    with readable(path, remedy), without_collections():
        content = path.read_bytes()
        try:
            return from_json(content)  # three times as fast as what follows
        except ValueError:
            # Other encodings, deep nesting and half characters are read, and damage is named.
            return json.loads(content)


@contextmanager
def without_collections() -> Iterator[None]:
    """Within the block Python does not look for cycles of objects that nothing else refers to.

    The content of a JSON file has none, and while millions of its values are made or checked, looking at all
    of them again and again takes as long as the work.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def read_arrays(path: Path, kinds: Mapping[str, tuple[str, int]], remedy: str) -> dict[str, NDArray[Any]]:
    """Arrays of a NumPy archive (.npz), as `atomic_files.write_arrays` writes it; nothing in it is executed.

    Args:
        kinds: of each array by its name, the letter of NumPy's kind ("f" of any float) and the dimensions.
    Raises:
        UserError: it cannot be read, or an array is missing or of another kind.
    """
    with readable(path, remedy):
        check_archive(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in kinds}
    for name, (kind, dimensions) in kinds.items():
        array = arrays[name]
        if array.dtype.kind != kind or array.ndim != dimensions:
            raise UserError(
                f"{path}: {name} is {array.dtype} {array.shape}, expected kind {kind!r} of "
                f"{plural(dimensions, 'dimension')}; {remedy}"
            )
    return arrays


def parse_xml(content: bytes) -> ET.Element:
    """The root of an XML document in any encoding that it states and Python knows.

    The parser itself knows no encoding of several bytes a character but Unicode's, and neither GBK nor
    Shift-JIS are rare in annotations.

    Raises:
        Exception: one of `UNREADABLE`; LookupError of an unknown encoding.
    """
    try:
        return ET.fromstring(content)
    except (ValueError, LookupError):
        stated = _ENCODING.match(content[:200])
        if stated is None:
            raise
        return ET.fromstring(content.decode(stated[1].decode("ascii")))
