"""Tables 13 and 14: paper / ours / difference, as a record of numbers and as Markdown drawn from it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.localization.localization_config import LocalizationConfig
from foundation.file_reading import read_json
from reproduction.localization.localization_runs import AGAIN
from reproduction.localization.localization_tables import CONFIGS_OF, LOCALIZATION_TABLES, LocalizationRow
from reproduction.published.table_rows import Printed
from reproduction.results.provenance import Made
from reproduction.runs import CONFIGS, folders
from reproduction.tables import markdown_table, said, spread
from training.config import differences, dump_config, load_config, parse_config

FEW = 5  # changes of a recipe, which are written out; of more the number is said
# Where a search may differ from the paper's configuration and still be its row.
EXECUTION = ("run.", "data.root", "regions.proposals", "testing.protocol")


@dataclass(frozen=True)
class Line:
    """A row of the paper beside our searches.

    Attributes:
        errors: per cent, of each search.
        baselines: per cent, the error of the whole picture's box with the true class, of each.
        pictures: that count; 0 without a search.
        changed: how ours differ from the paper's recipe.
    """

    row: LocalizationRow
    errors: list[float]
    baselines: list[float]
    pictures: int
    changed: list[str]

    @property
    def difference(self) -> float | None:
        """Our mean less the paper's number; None without both."""
        printed = self.row.printed
        return statistics.mean(self.errors) - printed.value if self.errors and printed else None


def read_lines(rows: Sequence[LocalizationRow], folder: Path) -> list[Line]:
    """What the folder of the runs holds of these rows."""
    lines = []
    for row in rows:
        places = folders(row, folder).values() if row.network else []
        results = [read_json(file, AGAIN) for place in places if (file := place / "result.json").is_file()]
        found = [result for result in results if row.score in result.get("scores", {})]
        errors, baselines = (
            [100 * result["scores"][name] for result in found] for name in (row.score, "whole_picture_error")
        )
        changed = _changes(row, found[0]["evaluated"]) if found else []
        lines.append(Line(row, errors, baselines, found[0]["pictures"] if found else 0, changed))
    return lines


def _changes(row: LocalizationRow, about: dict[str, Any]) -> list[str]:
    config = parse_config(LocalizationConfig, about["config"], source="result.json: config")
    step = "rpn" if row.network == "rpn" else "rcnn"
    paper = load_config(LocalizationConfig, CONFIGS / f"{CONFIGS_OF[step]}.yaml")
    lines = differences(dump_config(paper), dump_config(config))
    return [line for line in lines if not line.startswith(EXECUTION)]


@dataclass(frozen=True)
class RowRecord:
    """A row of the paper beside our searches, errors in per cent; see `Line`."""

    label: str
    key: str
    ours: bool
    paper: dict[str, Any] | None  # `Printed`
    elsewhere: dict[str, dict[str, Any]]
    score: str
    errors: list[float]
    whole_picture_errors: list[float]
    pictures: int
    difference: float | None
    comparable: bool
    changed: list[str]


@dataclass(frozen=True)
class LocalizationReport:
    """What table<number>.json holds."""

    table: str
    source: str
    made: Made
    rows: list[RowRecord]


def record(number: str, lines: Sequence[Line], made: Made) -> LocalizationReport:
    """All numbers behind the table, for table<number>.json."""
    rows = [_record_row(line) for line in lines]
    return LocalizationReport(number, LOCALIZATION_TABLES[number].source, made, rows)


def _record_row(line: Line) -> RowRecord:
    row = line.row
    return RowRecord(
        label=row.label,
        key=row.key,
        ours=row.network is not None,
        paper=None if row.printed is None else row.printed._asdict(),
        elsewhere={split: printed._asdict() for split, printed in row.elsewhere.items()},
        score=row.score,
        errors=line.errors,
        whole_picture_errors=line.baselines,
        pictures=line.pictures,
        difference=line.difference,
        comparable=bool(line.errors) and not line.changed,
        changed=line.changed,
    )


def localization_markdown(content: LocalizationReport) -> str:
    """The table as a report has it."""
    number, table, rows = content.table, LOCALIZATION_TABLES[content.table], content.rows
    heading = ["row", "paper, %", "ours, %", "n", "difference", "the whole picture's box, %"]
    drawn = markdown_table(heading, map(_cells, rows), right=range(1, 6))
    return f"**Table {number}.** {table.title} ({table.source}).\n\n{drawn}\n\n{_notes(rows)}"


def _cells(row: RowRecord) -> list[str]:
    label, printed = row.label, "–" if row.paper is None else str(Printed(**row.paper))
    if not row.ours:
        return [label, printed, "not ours", "", "", ""]
    if not row.errors:
        return [label, printed, "not run", "0", "", ""]
    difference = "" if row.difference is None else f"{row.difference:+.2f}"
    if row.changed and difference:
        difference = f"({difference}) not comparable"
    ours, whole = spread(row.errors), f"{statistics.mean(row.whole_picture_errors):.2f}"
    return [label, printed, ours, str(len(row.errors)), difference, whole]


def _notes(rows: Sequence[RowRecord]) -> str:
    notes = [
        "Ours: the weights after the last step; mean ± sample deviation over n seeds, of the ensemble one "
        "answer of all. Difference: our mean less the paper's number. The last column is the error of the "
        "true class with the whole picture as its box."
    ]
    counts = {row.pictures for row in rows if row.pictures}
    notes += (
        [f"Pictures that count: {', '.join(f'{count:,}' for count in sorted(counts))}."] if counts else []
    )
    for row in rows:
        for split, printed in row.elsewhere.items():
            notes.append(f"In print also, {row.label}, {split}: {Printed(**printed)}.")
    for changed in dict.fromkeys(tuple(row.changed) for row in rows if row.changed):
        labels = "; ".join(row.label for row in rows if tuple(row.changed) == changed)
        shown = "; ".join(said(change) for change in changed[:FEW])
        more = f"; and {len(changed) - FEW} more" if len(changed) > FEW else ""
        notes.append(f"Not comparable with the paper ({labels}): {shown}{more}.")
    return "\n\n".join(notes)
