"""Files found by the names that annotations and lists give them, where the spelling alone differs.

Windows writes `sub\\a.jpg`, web tools `a%20b.jpg`, macOS stores é as two characters, cameras write `A.JPG`.
"""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote


def find_file(folder: Path, name: str) -> Path:
    """The file that `name` means below `folder`.

    The file of that very name comes first, then that with slashes for backslashes and without URL encoding,
    then the only one that `fitting_files` gives.

    Returns:
        Its path; folder/name where no file fits, or several do.
    """
    slashed = name.replace("\\", "/")
    for spelling in (name, slashed, unquote(slashed)):
        if os.path.isfile(folder / spelling):
            return folder / spelling
    fitting = fitting_files(folder, name)
    return fitting[0] if len(fitting) == 1 else folder / name


def fitting_files(folder: Path, name: str) -> list[Path]:
    """The files below `folder` whose names differ from `name` in spelling only, sorted.

    Backslashes, URL encoding, the normal form of Unicode and the case of letters make no difference.
    """
    parts = [part for part in _plain_spelling(name).split("/") if part not in ("", ".")]
    return sorted(_descend(folder, parts))


def _descend(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    if parts[:1] == [".."]:
        yield from _descend(folder / "..", parts[1:])
        return
    for count in range(1, len(parts) + 1):  # unpacked carelessly, a name can hold what were folders
        for child in _children(folder).get("/".join(parts[:count]), ()):
            if count < len(parts):
                yield from _descend(folder / child, parts[count:])
            elif (folder / child).is_file():
                yield folder / child


def _children(folder: Path) -> dict[str, list[str]]:
    """The names in a folder by their plain spelling; none where it is no folder."""
    try:
        return _listed(str(folder), folder.stat().st_mtime_ns) if folder.is_dir() else {}
    except OSError:  # it may not be looked into, or its name is too long for a folder
        return {}


@lru_cache(maxsize=64)
def _listed(folder: str, changed: int) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for child in os.listdir(folder):
        names.setdefault(_plain_spelling(child), []).append(child)
    return names


def _plain_spelling(name: str) -> str:
    decoded = unquote(name, errors="surrogateescape")
    while decoded != name:  # %2520 was encoded twice
        name, decoded = decoded, unquote(decoded, errors="surrogateescape")
    folded = unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()
    return unicodedata.normalize("NFC", folded)


def name_fitting(path: Path) -> str:
    """For a message that `path` is missing: the several files that it may mean, or nothing."""
    names = [str(file.relative_to(path.parent)) for file in fitting_files(path.parent, path.name)]
    return f" ({' and '.join(names)} both differ in spelling only: rename one)" if len(names) > 1 else ""
