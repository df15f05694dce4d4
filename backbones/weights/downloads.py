"""Files of others by address: downloaded once, verified, and kept in the cache of weights.

A file lies in the cache below the host and path of its address, with its SHA-256 beside it as `sha256sum`
writes it. Whoever has no network puts the file there by hand. What another program has downloaded already,
torch's or Hugging Face's, is verified and used where it lies.
"""

import hashlib
import http.client
import logging
import os
import re
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import torch
from filelock import FileLock, Timeout

from foundation.atomic_files import make_folder, replace_atomically, write_text
from foundation.errors import WeightsError

logger = logging.getLogger(__name__)
TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20
_HUB = "huggingface.co"


def cache_folder() -> Path:
    """$RESIDUAL_CACHE, or the user's folder for caches."""
    if given := os.environ.get("RESIDUAL_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "residual_backbones"


def place_of(url: str) -> Path:
    """Where the cache keeps the file of an address."""
    parts = urlsplit(url)
    path = unquote(parts.path).replace("/resolve/main/", "/").strip("/")
    return cache_folder() / "downloads" / parts.netloc.replace(":", "_") / path


def fetch(url: str, *, sha256: str = "") -> Path:
    """The file of an address, from a cache or downloaded; never a part of it, nor another one.

    Of several processes that want it one downloads, and the others wait for it.

    Args:
        sha256: all 64 digits, or the first of them that are known. Without any, those that the Hugging Face
            hub states count; what was downloaded once is recorded and compared in any case.
    Returns:
        Its path; it belongs to the cache and must not be changed.
    Raises:
        WeightsError: it cannot be downloaded, is another file than expected, or the cache cannot be written.
    """
    target = place_of(url)
    with locked(target):
        if target.exists():
            return _own_copy(url, target, sha256)
        for copy in _copies_of_others(url, sha256):
            if reason := _fault(copy, sha256):
                logger.warning("%s is not used: %s", copy, reason)
            else:
                return copy
        _download(url, target, sha256)
        return target


def converted_place(name: str, version: int) -> Path:
    """Where the cache keeps published weights as a file of ours; other versions are converted otherwise."""
    return cache_folder() / "weights" / f"{name}.v{version}.safetensors"


def converted(target: Path, url: str, sha256: str, convert: Callable[[Path, Path], None]) -> Path:
    """The file at a `converted_place`; if it is not there, it is fetched (see `fetch`) and converted.

    Args:
        convert: (source, target) writes it.
    """
    if not target.is_file():
        source = fetch(url, sha256=sha256)
        with locked(target):
            if not target.is_file():  # another process may have written it meanwhile
                convert(source, target)
    return target


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of a file of the cache, whose folder is made.

    Raises:
        WeightsError: the folder, or a file in it, cannot be written in the block.
    """
    try:
        make_folder(path.parent)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info("waiting for another process, which fetches %s", path)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
    except OSError as error:
        place = "" if error.filename in (None, str(cache_folder())) else f" at {error.filename}"
        raise WeightsError(
            f"the cache of weights {cache_folder()} cannot be written ({error.strerror}{place}); mend that, "
            "or name another folder with the environment variable RESIDUAL_CACHE"
        ) from error


def _own_copy(url: str, path: Path, sha256: str) -> Path:
    """A file that lies in the cache: compared with its record, or, put there by hand, recorded."""
    recorded = _recorded(path)
    if reason := _fault(path, sha256, recorded):
        raise WeightsError(f"{path}: {reason}; delete it and repeat, or put another copy of {url} there")
    if not recorded:
        _write_record(path)
    return path


def _copies_of_others(url: str, sha256: str) -> Iterator[Path]:
    """Where torch and Hugging Face keep this file, if they do."""
    parts = urlsplit(url)
    if sha256:  # by name alone nothing could be told of a file in torch's folder
        yield from _existing(Path(torch.hub.get_dir()) / "checkpoints" / Path(parts.path).name)
    if parts.netloc == _HUB and (found := re.fullmatch(r"/([^/]+)/([^/]+)/resolve/main/(.+)", parts.path)):
        home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
        hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
        repository = hub / f"models--{found[1]}--{found[2]}"
        revision = repository / "refs" / "main"
        if revision.is_file():
            yield from _existing(repository / "snapshots" / revision.read_text().strip() / found[3])


def _existing(path: Path) -> list[Path]:
    return [path] if path.is_file() else []


def _fault(path: Path, *digests: str) -> str:
    """Why a file is not the one expected, "" if it is; digests may be cut, or "" where unknown."""
    stored = path.resolve().name  # Hugging Face's cache names the content by its digest
    known = [*filter(None, digests), *re.findall("^[0-9a-f]{64}$", stored)]
    own = digest(path) if known else ""
    for expected in known:
        if not own.startswith(expected):
            return f"its SHA-256 is {own}, expected {expected}{'…' * (len(expected) < 64)}"
    return ""


def digest(path: Path) -> str:
    """The SHA-256 of a file, 64 digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded(path: Path) -> str:
    """The digest that was recorded of a file of the cache, "" if none was."""
    record = _record_of(path)
    fields = record.read_text().split() if record.is_file() else []
    return fields[0] if fields else ""


def _write_record(path: Path, content: Path | None = None) -> None:
    """Records the digest of a file of the cache, whose content may not be in its place yet."""
    write_text(_record_of(path), f"{digest(content or path)}  {path.name}\n")


class _Redirects(HTTPRedirectHandler):
    """Follows redirects, keeps what they say of the file, and refuses to leave HTTPS."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}

    def redirect_request(
        self, request: Request, file: IO[bytes], code: int, message: str, headers: Any, url: str
    ) -> Request | None:
        if request.full_url.startswith("https:") and not url.startswith("https:"):
            raise URLError(f"it redirects to {url}, which is not encrypted")
        self.said |= {name.lower(): value for name, value in headers.items()}
        return super().redirect_request(request, file, code, message, headers, url)


class _CutError(Exception):
    """The connection ended before the file did."""


# Those of files, such as a full disk, are OSErrors too, but not among these.
_OF_NETWORK = (URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError, _CutError)


def _download(url: str, target: Path, sha256: str) -> None:
    """Writes the file and its record, after it was verified."""
    recorded = _recorded(target)  # of a file that was deleted since: it must be the same again
    logger.info("downloading %s to %s", url, target)
    with replace_atomically(target) as temporary:
        try:
            said = _receive(url, temporary)
        except _OF_NETWORK as error:
            raise WeightsError(f"{url} was not downloaded ({_reason(error)}); {_by_hand(target)}") from error
        etag = said.get("x-linked-etag", "").strip('W/"')
        published = sha256 or (etag if re.fullmatch("[0-9a-f]{64}", etag) else "")
        if reason := _fault(temporary, recorded or published, sha256):
            where = f" as {_record_of(target)} has recorded" if recorded else ""
            raise WeightsError(
                f"{url} is not the file that was published ({reason}{where}); it was removed. Repeat it, "
                f"or {_by_hand(target)}"
            )
        _write_record(target, temporary)


def _receive(url: str, path: Path) -> dict[str, str]:
    """Writes what an address answers into a file, and gives the headers of all answers."""
    redirects = _Redirects()
    request = Request(url, headers={"User-Agent": "residual-backbones"})
    with build_opener(redirects).open(request, timeout=TIMEOUT) as response, path.open("wb") as file:
        said = redirects.said | {name.lower(): value for name, value in response.headers.items()}
        length = response.headers.get("content-length")  # not that of an answer which redirected
        total = None if length is None else int(length)
        received = 0
        with _progress(total, Path(urlsplit(url).path).name) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
    if total is not None and received < total:
        raise _CutError(f"the connection was cut after {received:,} of {total:,} bytes")
    return said


def _progress(total: int | None, name: str) -> Any:
    from tqdm import tqdm  # only here: its presence tells the log to write around a bar

    return tqdm(
        total=total, desc=name, unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty()
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, URLError):
        error = error.reason if isinstance(error.reason, BaseException) else error
    if isinstance(error, TimeoutError):
        return f"no byte in {TIMEOUT:g} seconds"
    return str(getattr(error, "strerror", None) or getattr(error, "reason", None) or error)


def _by_hand(target: Path) -> str:
    return f"without network, put that file at {target.absolute()} by hand"
