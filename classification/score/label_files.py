"""Labels from files beside the pictures: ImageNet-ReaL, lists in order of file name, and mappings by name."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from foundation.errors import UserError
from foundation.file_reading import readable

VALIDATION_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.\w+")
FORMS = (
    "a JSON list with one entry per picture in order of file name (ImageNet-ReaL's real.json), a JSON object "
    "from file name to labels, or a text file of one label a line in order of file name"
)


@dataclass(frozen=True)
class LabelFile:
    """A file of labels as read, not yet matched to pictures."""

    path: Path
    entries: dict[str, Any] | list[Any]  # by file name, or in order of file name

    def match(self, ids: list[str], classes: list[str]) -> list[list[int]]:
        """The labels of each picture: several where each is right, none where it is to be left out.

        An entry is one label or a list of them, a label a number from 0 to K−1 or a class name.

        The ids are those of `portable_id`. An object may name a picture by its whole id too, and other
        pictures besides.

        Raises:
            UserError: an entry is missing, one too many, or wrong.
        """
        numbers = {name: number for number, name in enumerate(classes)}
        names = [PurePath(name).name for name in ids]
        if isinstance(self.entries, dict):
            found = [(f"entry {key!r}", self.entries[key]) for key in self._keys(ids, names)]
        else:
            unit, first = ("entry", 0) if self.path.suffix == ".json" else ("line", 1)
            found = [(f"{unit} {at + first}", self.entries[at]) for at in self._positions(names)]
        result = []
        for where, entry in found:
            labels = entry if isinstance(entry, list) else [entry]
            numbered = [_parse_label(f"--labels {self.path}, {where}", label, numbers) for label in labels]
            result.append(list(dict.fromkeys(numbered)))
        return result

    def _keys(self, ids: list[str], names: list[str]) -> list[str]:
        """Under which key of an object each picture stands."""
        repeated = _repeated(names)
        keys = [whole if whole in self.entries else name for whole, name in zip(ids, names, strict=True)]
        for whole, key in zip(ids, keys, strict=True):
            if key not in self.entries:
                raise UserError(
                    f"--labels {self.path} has no entry {key!r}; add it, with [] if the picture is to be "
                    "left out"
                )
            if key != whole and key in repeated:
                raise UserError(
                    f"--labels {self.path}: several pictures are called {key!r}; name them with folder, as "
                    f"{whole!r}"
                )
        return keys

    def _positions(self, names: list[str]) -> list[int]:
        """Where in a list in order of file name each picture stands."""
        length = len(self.entries)
        matches = [VALIDATION_NAME.fullmatch(name) for name in names]
        if all(matches):  # a part of ImageNet's validation set will do
            positions = [int(match[1]) - 1 for match in matches if match]
            if max(positions) >= length:
                raise UserError(
                    f"--labels {self.path} has {length} entries, none for "
                    f"{names[positions.index(max(positions))]}; expected one for each of the 50000 pictures "
                    "of ImageNet's validation set"
                )
            return positions
        if length != len(names):
            raise UserError(
                f"--labels {self.path} has {length} entries for {len(names)} pictures; expected {FORMS}"
            )
        if repeated := _repeated(names):
            raise UserError(
                f"--labels {self.path}: several pictures are called {min(repeated)!r}, so a list in order of "
                "file name has no sure order; give a JSON object from '<folder>/<file>' to labels"
            )
        ordered = {name: position for position, name in enumerate(sorted(names, key=_natural))}
        return [ordered[name] for name in names]


def read_labels(path: Path) -> LabelFile:
    """Reads a file of one of the `FORMS`; a UserError if it has another."""
    with readable(f"--labels {path.absolute()}", f"expected {FORMS}"):
        if path.suffix == ".json":
            content = json.loads(path.read_bytes())
        else:
            text = path.read_text(encoding="utf-8-sig")
            lines = [line.strip() for line in text.rstrip().split("\n")]
            content = [int(line) if re.fullmatch(r"-?\d+", line) else line for line in lines]
    if not isinstance(content, dict | list):
        raise UserError(f"--labels {path} holds a {type(content).__name__}; expected {FORMS}")
    return LabelFile(path, content)


def _repeated(names: list[str]) -> set[str]:
    return {name for name, times in Counter(names).items() if times > 1}


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 9 before 10, and equal to the alphabet where numbers are padded with zeros."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _parse_label(where: str, label: object, numbers: dict[str, int]) -> int:
    if isinstance(label, str):
        if label not in numbers:
            raise UserError(
                f"{where}: {label!r} is no class of this network; expected one such as {min(numbers)!r}"
            )
        return numbers[label]
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(numbers):
        raise UserError(
            f"{where}: label {label!r}; expected a number from 0 to {len(numbers) - 1}, counted in order of "
            "class name, or a class name (ImageNet's development kits count from 1 and in another order)"
        )
    return label
