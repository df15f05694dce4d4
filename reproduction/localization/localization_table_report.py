"""Tables 13 and 14: paper / ours / difference."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.localization.localization_config import LocalizationConfig
from foundation.file_reading import read_json
from reproduction.localization.localization_runs import AGAIN
from reproduction.localization.localization_tables import CONFIGS_OF, LocalizationRow, LocalizationTable
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


def localization_markdown(number: str, table: LocalizationTable, lines: Sequence[Line]) -> str:
    """The table as a report has it."""
    heading = ["row", "paper, %", "ours, %", "n", "difference", "the whole picture's box, %"]
    rows = markdown_table(heading, map(_cells, lines), right=range(1, 6))
    return f"**Table {number}.** {table.title} ({table.source}).\n\n{rows}\n\n{_notes(lines)}"


def _cells(line: Line) -> list[str]:
    printed = "–" if line.row.printed is None else str(line.row.printed)
    if line.row.network is None:
        return [line.row.label, printed, "not ours", "", "", ""]
    if not line.errors:
        return [line.row.label, printed, "not run", "0", "", ""]
    difference = f"{line.difference:+.2f}"
    if line.changed:
        difference = f"({difference}) not comparable"
    ours, whole = spread(line.errors), f"{statistics.mean(line.baselines):.2f}"
    return [line.row.label, printed, ours, str(len(line.errors)), difference, whole]


def _notes(lines: Sequence[Line]) -> str:
    notes = [
        "Ours: the weights after the last step; mean ± sample deviation over n seeds, of the ensemble one "
        "answer of all. Difference: our mean less the paper's number. The last column is the error of the "
        "true class with the whole picture as its box."
    ]
    counts = {line.pictures for line in lines if line.pictures}
    notes += (
        [f"Pictures that count: {', '.join(f'{count:,}' for count in sorted(counts))}."] if counts else []
    )
    for line in lines:
        for split, printed in line.row.elsewhere.items():
            notes.append(f"In print also, {line.row.label}, {split}: {printed}.")
    for changed in dict.fromkeys(tuple(line.changed) for line in lines if line.changed):
        labels = "; ".join(line.row.label for line in lines if tuple(line.changed) == changed)
        shown = "; ".join(said(change) for change in changed[:FEW])
        more = f"; and {len(changed) - FEW} more" if len(changed) > FEW else ""
        notes.append(f"Not comparable with the paper ({labels}): {shown}{more}.")
    return "\n\n".join(notes)


def record(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """All numbers behind the table, for table<number>.json."""
    return [
        {
            "label": line.row.label,
            "key": line.row.key,
            "ours": line.row.network is not None,
            "paper": None if line.row.printed is None else line.row.printed._asdict(),
            "elsewhere": {split: printed._asdict() for split, printed in line.row.elsewhere.items()},
            "score": line.row.score,
            "errors": line.errors,
            "whole_picture_errors": line.baselines,
            "pictures": line.pictures,
            "difference": line.difference,
            "comparable": bool(line.errors) and not line.changed,
            "changed": line.changed,
        }
        for line in lines
    ]
