"""Records of runs, read and checked: reports of tools/reproduce.py as they are, and other experiments.

They are the JSON files of `RECORDS`; docs/reproducing.md says what they hold.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from foundation.errors import UserError, suggest
from foundation.file_reading import read_json
from reproduction.classifier_table_report import ClassifierTable, markdown, record_row
from reproduction.detectors.detection_table_report import DetectionReport
from reproduction.detectors.detection_table_report import markdown as detection_markdown
from reproduction.detectors.detection_tables import DETECTION_TABLES
from reproduction.localization.localization_table_report import LocalizationReport, localization_markdown
from reproduction.localization.localization_tables import LOCALIZATION_TABLES
from reproduction.published.paper import TABLES
from reproduction.results.experiments import Experiment, place

RECORDS = Path(__file__).resolve().parents[1] / "records"
REMEDY = "docs/reproducing.md says what a record holds"
Content = TypeVar("Content")


@dataclass(frozen=True)
class ReportKind:
    """A kind of table that tools/reproduce.py reports: by number, the shape of its record, its Markdown."""

    tables: Mapping[str, Any]
    schema: type[Any]
    markdown: Callable[[Any], str]


KINDS: tuple[ReportKind, ...] = (
    ReportKind(TABLES, ClassifierTable, markdown),
    ReportKind(DETECTION_TABLES, DetectionReport, detection_markdown),
    ReportKind(LOCALIZATION_TABLES, LocalizationReport, localization_markdown),
)


@dataclass(frozen=True)
class Report:
    """A table<number>.json of tools/reproduce.py."""

    kind: ReportKind
    content: Any  # of the kind's schema

    @property
    def commands(self) -> list[str]:
        """The command that made it, if that is known."""
        return [*filter(None, [self.content.made.command])]

    @property
    def conditions(self) -> str:
        """Where it was made."""
        return f"{place(self.content.made.machine, self.content.made.torch)}."

    @property
    def means(self) -> dict[tuple[str, str], float]:
        """Of each score, by its row's key and its name; of localization there are none."""
        return {
            (row.key, name): score.mean
            for row in self.content.rows
            for name, score in getattr(row, "scores", {}).items()
        }

    def markdown(self) -> str:
        """As table<number>.md has it."""
        return self.kind.markdown(self.content)


def read_record(file: Path) -> Report | Experiment:
    """A record of a run.

    Raises:
        UserError: it cannot be read, or a field is missing, unknown, of another kind, or contradicts others.
    """
    content = read_json(file, REMEDY)
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected fields in braces, got {str(content)[:40]!r}; {REMEDY}")
    if "table" not in content:
        return checked(Experiment, content, file)
    number = content["table"]
    kind = next((kind for kind in KINDS if number in kind.tables), None)
    if kind is None:
        known = [number for kind in KINDS for number in kind.tables]
        raise UserError(f"{file}: table: no table {number!r} is held{suggest(str(number), known)}")
    report = Report(kind, checked(kind.schema, content, file))
    _refuse_other_rows(report, file)
    return report


def checked(schema: type[Content], content: Any, file: Path, remedy: str = REMEDY) -> Content:
    """A file's content as an object of this class.

    Raises:
        UserError: a field is missing, unknown or of another kind; the message ends with the remedy.
    """
    adapter = TypeAdapter(with_config(ConfigDict(extra="forbid"))(schema))
    try:
        return adapter.validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        what = first["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        got = "" if first["type"] in ("missing", "value_error") else f", got {str(first['input'])[:60]!r}"
        raise UserError(f"{file}: {f'{where}: ' if where else ''}{what}{got}; {remedy}") from None


def _refuse_other_rows(report: Report, file: Path) -> None:
    """Refuses rows that the table has not, and what does not follow from the runs and what is printed."""
    table = report.kind.tables[report.content.table]
    known = {row.key: row for row in table.rows}
    for number, row in enumerate(report.content.rows):
        if row.key not in known:
            raise UserError(f"{file}: rows.{number}.key: no row has {row.key!r}{suggest(row.key, known)}")
        printed = known[row.key]
        expected: dict[str, Any] = {"label": printed.label}
        if report.kind.tables is TABLES:
            expected = vars(record_row(table, printed, row.runs, row.not_ended, row.changed))
        for name, value in expected.items():
            if (found := getattr(row, name)) != value:
                raise UserError(
                    f"{file}: rows.{number}.{name} is {found!r}, but {value!r} by the row's runs and what "
                    "the paper prints; copy the file again that tools/reproduce.py wrote"
                )


def read_records(folder: Path = RECORDS) -> dict[str, Report | Experiment]:
    """All records of a folder by their names."""
    return {file.stem: read_record(file) for file in sorted(folder.glob("*.json"))}
