"""Labels from files beside the pictures: ImageNet-ReaL, lists in order of file name, and mappings by name."""

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from foundation.errors import UserError

VALIDATION_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.\w+")
FORMS = (
    "a JSON list with one entry per picture in order of file name (ImageNet-ReaL's real.json), a JSON object "
    "from file name to labels, or a text file of one label a line in order of file name"
)


@dataclass(frozen=True)
class LabelFile:
    """A file of labels as read, not yet matched to pictures.

    Attributes:
        path: of the file.
        entries: file name → entry, or the entries in order of file name.
        unit, first: what an entry of a list is called, and the number of the first.
    """

    path: Path
    entries: dict[str, Any] | list[Any]
    unit: str = "entry"
    first: int = 0

    def match(self, ids: list[str], classes: list[str]) -> list[list[int]]:
        """The labels of each picture.

        A label is a number from 0 to K−1 or a class name, an entry one label or a list of them: several where
        each is right, none where the picture is to be left out.

        Args:
            ids: of the pictures, as `classification.score.saved_scores.portable_id` makes them. An object may
                name a picture by its whole id too, and other pictures besides.
            classes: K names.
        Raises:
            UserError: an entry is missing, one too many, or wrong.
        """
        numbers = {name: number for number, name in enumerate(classes)}
        if isinstance(self.entries, dict):
            found = [(f"entry {key!r}", self.entries[key]) for key in _keys(self.path, self.entries, ids)]
        else:
            places = _places(self.path, len(self.entries), ids)
            found = [(f"{self.unit} {place + self.first}", self.entries[place]) for place in places]
        return [_parse_entry(f"--labels {self.path}, {where}", entry, numbers) for where, entry in found]


def read_labels(path: Path) -> LabelFile:
    """Reads a file of one of the `FORMS`.

    Raises:
        UserError: there is no such file, or it has another form.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else _text_labels(text)
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"--labels: no file {path.absolute()}; expected {FORMS}") from None
    except ValueError as error:
        raise UserError(f"--labels {path} cannot be read ({error}); expected {FORMS}") from error
    if not isinstance(content, dict | list):
        raise UserError(f"--labels {path} holds a {type(content).__name__}; expected {FORMS}")
    return LabelFile(path, content) if path.suffix == ".json" else LabelFile(path, content, "line", 1)


def _text_labels(text: str) -> list[int | str]:
    lines = [line.strip() for line in text.rstrip().split("\n")]
    return [int(line) if re.fullmatch(r"-?\d+", line) else line for line in lines]


def _keys(path: Path, content: dict[str, Any], ids: list[str]) -> list[str]:
    """Under which key each picture stands."""
    names = [PurePath(name).name for name in ids]
    repeated = _repeated(names)
    keys = [whole if whole in content else name for whole, name in zip(ids, names, strict=True)]
    for whole, key in zip(ids, keys, strict=True):
        if key not in content:
            raise UserError(
                f"--labels {path} has no entry {key!r}; add it, with [] if the picture is to be left out"
            )
        if key != whole and key in repeated:
            raise UserError(
                f"--labels {path}: several pictures are called {key!r}; name them with folder, as {whole!r}"
            )
    return keys


def _places(path: Path, length: int, ids: list[str]) -> list[int]:
    """Where in a list in order of file name each picture stands."""
    names = [PurePath(name).name for name in ids]
    numbers = [VALIDATION_NAME.fullmatch(name) for name in names]
    if all(numbers):  # a part of ImageNet's validation set will do
        places = [int(match[1]) - 1 for match in numbers if match]
        if max(places) >= length:
            raise UserError(
                f"--labels {path} has {length} entries, none for {names[places.index(max(places))]}; "
                "expected one for each of the 50000 pictures of ImageNet's validation set"
            )
        return places
    if length != len(ids):
        raise UserError(f"--labels {path} has {length} entries for {len(ids)} pictures; expected {FORMS}")
    if repeated := _repeated(names):
        raise UserError(
            f"--labels {path}: several pictures are called {min(repeated)!r}, so a list in order of file "
            "name has no sure order; give a JSON object from '<folder>/<file>' to labels"
        )
    places = [0] * len(names)
    for place, picture in enumerate(sorted(range(len(names)), key=lambda i: _natural(names[i]))):
        places[picture] = place
    return places


def _repeated(names: list[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 9 before 10, and equal to the alphabet where numbers are padded with zeros."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _parse_entry(where: str, entry: object, numbers: dict[str, int]) -> list[int]:
    labels = entry if isinstance(entry, list) else [entry]
    return list(dict.fromkeys(_parse_label(where, label, numbers) for label in labels))


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
