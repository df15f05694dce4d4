"""Tables of boxes (CSV), one object a row, and VIA's tables of regions."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from detection.data.annotations import Problem
from detection.layouts.csv_columns import EXPECTED, Columns, RegionColumns, find_columns
from detection.layouts.drawn_objects import DrawnObject, DrawnPicture, gathered
from detection.layouts.via_layout import Region, drawn_regions, parse_cell
from foundation.errors import UserError
from foundation.file_reading import read_text
from pictures.annotations.field_checks import FARTHEST, decimal, is_size, is_text, shown

_SEPARATORS = (",", ";", "\t")
_Row = tuple[str, list[str]]  # the file and the line for messages, and the fields


def read_csv(
    file: Path, classes: Sequence[str] | None = None, problems: list[Problem] | None = None
) -> list[DrawnPicture]:
    """The pictures that a table names, in the order in which they first occur.

    A row whose fields of box and class are empty names a picture without objects. Fields are separated by
    commas, semicolons or tabs; see `find_columns` for the columns.

    Args:
        classes: the classes, where they are known; see `drawn_regions`, which reads VIA's tables.
        problems: where all faults of single rows are gathered; without it the first is raised.
    Raises:
        UserError: the file is no such table, or a row is malformed.
    """
    rows = _rows(file)
    where, first = next(rows, (str(file), []))
    columns = find_columns(first, where)
    if isinstance(columns, RegionColumns):
        return drawn_regions(_via_pictures(rows, columns), classes, str(file), problems)
    pictures: dict[str, DrawnPicture] = {}
    for place, row in rows if columns.header else [(where, first), *rows]:
        with gathered(problems, place):
            _add_row(pictures, place, row, columns, len(first))
    with gathered(problems, str(file)):
        _refuse_fractions(list(pictures.values()))
    return list(pictures.values())


def _rows(file: Path) -> Iterator[_Row]:
    """The rows of a table that are not empty."""
    text = read_text(file, EXPECTED)
    first = text.lstrip().partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield f"{file}: line {reader.line_num}", row
    except csv.Error as error:
        raise UserError(f"{file}: line {reader.line_num}: {error}; {EXPECTED}") from error


def _add_row(
    pictures: dict[str, DrawnPicture], where: str, row: list[str], columns: Columns, count: int
) -> None:
    """Put one row into its picture, which is new with the first of its rows."""
    row = [field.strip() for field in row]
    if len(row) != count:
        raise UserError(f"{where}: {len(row)} fields, expected {count} as in the first line; correct the row")
    name, size = row[columns.file], _size(row, columns, where)
    if not is_text(name):
        raise UserError(f"{where}: the name of the picture is {shown(name)}, expected a file; enter it")
    picture = pictures.setdefault(name, DrawnPicture(name, size, []))
    if picture.size != size:
        text = f"the size of {name} is {size}, and {picture.size} in a row before (height, width)"
        raise UserError(f"{where}: {text}; correct one of them")
    if any(row[index] for index in (*columns.box, columns.label)):
        picture.objects.append(_object(row, columns, where))


def _size(row: Sequence[str], columns: Columns, where: str) -> tuple[int, int] | None:
    if columns.size is None or not any(row[index] for index in columns.size):
        return None
    height, width = (decimal(row[index]) for index in columns.size)
    if not is_size(height, width):
        stated = " and ".join(repr(row[index]) for index in columns.size)
        text = f"height and width of the picture are {stated}, expected whole numbers above 0"
        raise UserError(f"{where}: {text}; correct them or leave both empty")
    return int(height), int(width)


def _object(row: Sequence[str], columns: Columns, where: str) -> DrawnObject:
    values = [decimal(row[index]) for index in columns.box]
    if not all(abs(value) <= FARTHEST for value in values):
        text = f"the box is {', '.join(row[index] for index in columns.box)}, expected four numbers of pixels"
        raise UserError(
            f"{where}: {text} with a decimal point; correct the row, or empty box and class alike"
        )
    x1, y1, x2, y2 = values
    if columns.sized:
        x2, y2 = x1 + x2, y1 + y2
    if x2 < x1 or y2 < y1:
        text = f"the box from {x1:g}, {y1:g} to {x2:g}, {y2:g} (x, y) ends before it begins"
        raise UserError(f"{where}: {text}; correct the row, or the names of the columns")
    if not is_text(row[columns.label]):
        text = f"the class is {shown(row[columns.label])}, expected its name"
        raise UserError(f"{where}: {text}; enter it")
    return DrawnObject(row[columns.label], (x1, y1, x2, y2), None, where)


def _refuse_fractions(pictures: Sequence[DrawnPicture]) -> None:
    """Boxes that all lie within one pixel are given in parts of their picture."""
    objects = [found for picture in pictures for found in picture.objects]
    if objects and all(max(map(abs, found.box)) <= 1 for found in objects):
        text = f"no box reaches beyond 1, for instance {objects[0].box}: these are parts of the picture"
        raise UserError(f"{objects[0].where}: {text}, expected pixels; multiply them by its width and height")


def _via_pictures(rows: Iterator[_Row], columns: RegionColumns) -> dict[str, list[Region]]:
    """The regions of VIA's table by the names of their pictures."""
    pictures: dict[str, list[Region]] = {}
    for where, row in rows:
        if len(row) <= max(columns) or not is_text(row[columns.file].strip()):
            text = f"{len(row)} fields, expected a picture's name, shape and attributes of a region"
            raise UserError(f"{where}: {text}; export the table again")
        regions = pictures.setdefault(row[columns.file].strip(), [])
        shape = parse_cell(row[columns.shape], where)
        if shape != {}:  # VIA writes such a row for a picture without regions
            regions.append(Region(where, shape, parse_cell(row[columns.attributes], where)))
    return pictures
