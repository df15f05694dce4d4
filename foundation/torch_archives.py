"""Files of torch.save, read whole or not at all, and without running anything that stands in them."""

import hashlib
import io
import re
import struct
import zipfile
import zlib
from pathlib import Path

import torch

from foundation.inert_objects import INERT
from foundation.pickles import UNREADABLE

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
        TorchFileError: damaged, cut off, or more than tensors, plain containers and such objects.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(len(_ZIP_START)) == _ZIP_START
        if is_archive:
            _check_sums(path)
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in INERT.items()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, zlib.error, *UNREADABLE) as error:
        raise TorchFileError(_reason(error)) from error


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


def _reason(error: BaseException) -> str:
    """The error in a few words, without torch's advice to run what is in the file (weights_only=False)."""
    text = str(error)
    code = re.search(r"GLOBAL (\S+)", text)
    if code:
        return f"it holds {code[1]}, which was not run"
    said = re.search(r"WeightsUnpickler error:\s*(.+)", text)
    return said[1] if said else re.split(r"\. |\n", text or repr(error))[0]
