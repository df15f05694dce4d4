"""Text files of the archives, read line by line: what is wrong with a line is noted, not raised."""

from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from detection.data.annotations import Problem
from foundation.errors import UserError
from foundation.file_reading import read_text

# Where the archives and their development kits are had; every message about a missing file ends with it.
SOURCE = "ILSVRC2015 or ILSVRC2017 of https://image-net.org"


class Row(NamedTuple):
    """One line that is not empty: where it stands, for messages, and its columns."""

    where: str
    columns: list[str]


def read_rows(file: Path, expected: str, counts: Container[int], problems: list[Problem]) -> list[Row]:
    """The lines of a file with as many columns as they should have.

    Args:
        expected: what a line is, for messages.
        counts: how many columns it may have; 3 leaves all further words in the third.
        problems: a missing file and lines of other forms are added to it.
    """
    if not file.is_file():
        text = f"no such file; expected {expected} in each line, as in {SOURCE}: unpack it there"
        problems.append(Problem("malformed_entry", str(file), text))
        return []
    try:
        lines = read_text(file, f"expected {expected} in each line").splitlines()
    except UserError as error:
        problems.append(Problem("malformed_entry", str(file), str(error)))
        return []
    rows = []
    for number, line in enumerate(lines, start=1):
        row = Row(f"{file}, line {number}", line.strip().split(maxsplit=2))
        if len(row.columns) in counts:
            rows.append(row)
        elif row.columns:
            text = f"{line.strip()!r} is not {expected}; correct the line"
            problems.append(Problem("malformed_entry", row.where, text))
    return rows


def read_names(file: Path, expected: str, problems: list[Problem]) -> list[Row]:
    """The lines of a list of pictures: a name, and perhaps a number; a name that leads elsewhere is noted."""
    rows = []
    for row in read_rows(file, expected, (1, 2), problems):
        name = row.columns[0]
        if name.startswith("/") or ".." in name.split("/"):
            text = f"{name!r} lies elsewhere; expected {expected}"
            problems.append(Problem("malformed_entry", row.where, text))
        else:
            rows.append(row)
    return rows


def whole_number(text: str) -> int | None:
    """The number that text in decimal digits says; None of other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
