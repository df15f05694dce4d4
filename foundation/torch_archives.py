"""Files of torch.save, read whole or not at all, and without running anything that stands in them."""

import hashlib
import io
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from foundation.bounds import EXPANDED_BYTES, BoundsError, check_archive, check_unfolded
from foundation.file_reading import UNREADABLE
from foundation.inert_objects import INERT

_ZIP_START = b"PK\x03\x04"
_FOLDER = 0x10  # MS-DOS attribute; torch takes such an entry for empty
_CHUNK = 1 << 20  # bytes
_DIGEST = b"sha256 "  # what the comment of an archive of ours begins with


class TorchFileError(ValueError):
    """A damaged file, or one with more than tensors and plain containers; the message says why, briefly."""


def torch_bytes(content: object) -> bytes:
    """Tensors and plain containers as an archive of torch.save, with a digest of it as the archive's comment.

    The checksums of an archive leave out its own tables and padding; the digest covers every byte.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(-2, io.SEEK_END)  # the length of the comment, which torch leaves empty, ends the file
    buffer.write(struct.pack("<H", len(_DIGEST) + 64))
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
    buffer.write(_DIGEST + digest.encode())
    return buffer.getvalue()


def read_torch(path: Path) -> object:
    """What torch.save wrote, with the tensors on the CPU.

    torch itself does not compare an archive's checksums, so a changed bit would be read as another weight.
    Files in the form before torch 1.6, which is no archive, have no checksums; they are read as they are.

    What scripts save beside their weights (`foundation/inert_objects.py`) becomes an object without content.

    Raises:
        TorchFileError: damaged, cut off, more than tensors, plain containers and such objects, or more than
            its bytes can hold (see `foundation.bounds`).
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(len(_ZIP_START)) == _ZIP_START
        if is_archive:
            _refuse_programs(path)
            check_archive(path)
            _check_sums(path)
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in INERT.items()]):
            content: object = torch.load(path, map_location="cpu", weights_only=True)
        check_unfolded(content, path.stat().st_size)
        _check_expanded(content)
        return content
    except UNREADABLE as error:
        raise TorchFileError(_reason(error)) from error


def _refuse_programs(path: Path) -> None:
    """TorchScript stores a network's code beside its weights, by which alone they can be read."""
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise TorchFileError("it is a program of TorchScript, which was not run")


def _check_sums(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if archive.comment:
            _compare_digest(path, archive.comment)
        entries = archive.infolist()
        if not any(entry.CRC for entry in entries):
            return  # torch.serialization.set_crc32_options(False) wrote zeros
        for entry in entries:
            if entry.external_attr & _FOLDER:
                raise zipfile.BadZipFile(f"{entry.filename} is marked as a folder")
            with archive.open(entry) as content:  # compares the checksum when it comes to the end
                while content.read(_CHUNK):
                    pass


def _compare_digest(path: Path, comment: bytes) -> None:
    digest, left = hashlib.sha256(), path.stat().st_size - len(comment)
    with path.open("rb") as file:
        while left > 0:
            digest.update(file.read(min(left, _CHUNK)))
            left -= _CHUNK
    if comment != _DIGEST + digest.hexdigest().encode():
        raise zipfile.BadZipFile("its content is not what its digest says")


def _check_expanded(content: object) -> None:
    """Raises a BoundsError if tensors are larger than what is stored for them.

    A tensor of stride 0 repeats one number as often as the file says; a sparse one leaves out any number.
    """
    excess = 0
    for tensor in _tensors(content, set()):
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise BoundsError(f"it holds a tensor of {tensor.layout} on {tensor.device}, expected numbers")
        excess += max(tensor.numel() * tensor.itemsize - tensor.untyped_storage().nbytes(), 0)
    if excess > EXPANDED_BYTES:
        raise BoundsError(f"its tensors repeat what is stored in {excess:,} bytes more")


def _tensors(value: object, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item, seen)


def _reason(error: BaseException) -> str:
    """The error in a few words, without torch's advice to run what is in the file (weights_only=False)."""
    text = str(error)
    code = re.search(r"GLOBAL (\S+)", text)
    if code:
        return f"it holds {code[1]}, which was not run"
    said = re.search(r"WeightsUnpickler error:\s*(.+)", text)
    return said[1] if said else re.split(r"\. |\n", text or repr(error))[0]
