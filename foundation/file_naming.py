"""Text from data, such as names of pictures and classes, as names of files and on a terminal."""

import os
import re
import unicodedata
from collections.abc import Iterable
from itertools import count
from pathlib import Path, PurePosixPath

# Most file systems allow 255 bytes; a temporary file beside this one and a number after it need a few.
LONGEST_NAME = 200
# Names that Windows keeps for devices, with any suffix.
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)


def printable(text: str, *, keep: str = "\n\t") -> str:
    """The text with control characters, and others that move, turn or hide text, as Python's `repr` has them.

    Args:
        keep: characters that stay all the same; "" where the text is to be one line.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def portable_name(text: str, suffix: str = "") -> str:
    """A name for one file or folder after any text; text that is such a name already stays as it is.

    Separators and characters that do not print become "-", names that mean something else (".", "..", those
    of Windows' devices) begin with "_", and long ones are cut.

    Args:
        suffix: appended, and never cut.
    """
    text = "".join("-" if c in "/\\" or not c.isprintable() else c for c in text)
    if text.strip(". ") == "" or _DEVICES.match(text):
        text = f"_{text}"
    room = LONGEST_NAME - len(os.fsencode(suffix))
    return text.encode()[:room].decode(errors="ignore") + suffix


class OutputNames:
    """Files below one folder named after data: none outside of it, and no two the same.

    Two names that differ in letter case or in the form of their accents alone count as the same, since some
    file systems take them so. The same names in the same order always give the same files.
    """

    def __init__(self, folder: Path, taken: Iterable[str] = ()) -> None:
        """Begins with no files but those named in `taken`, which lie in the folder itself."""
        self.folder = folder
        self._taken = {_key(folder / name) for name in taken}
        self._folders: dict[tuple[str, ...], Path] = {(): folder}

    def place(self, name: str, suffix: str = "") -> Path:
        """A new file for this name, whose parts between "/" are folders; nothing is written yet."""
        *above, last = [part for part in PurePosixPath(name).parts if part not in ("/", "//", "..")] or [""]
        for end in range(1, len(above) + 1):
            parts = tuple(above[:end])
            if parts not in self._folders:
                self._folders[parts] = self._claim(self._folders[parts[:-1]], parts[-1], "")
        return self._claim(self._folders[tuple(above)], last, suffix)

    def _claim(self, folder: Path, name: str, suffix: str) -> Path:
        for number in count(1):
            place = folder / portable_name(name, suffix if number == 1 else f"~{number}{suffix}")
            if _key(place) not in self._taken:
                self._taken.add(_key(place))
                return place
        raise AssertionError  # count never ends


def _key(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()
