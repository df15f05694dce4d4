"""A detection table: paper / ours / difference, and each row's paired difference from the row before."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.own_sets.split_opener import SplitOpener
from foundation.file_reading import read_json
from reproduction.detectors.detection_tables import DetectionRow, DetectionTable
from reproduction.detectors.paired_differences import (
    ABOUT,
    Difference,
    Group,
    Scored,
    difference,
    read_group,
)
from reproduction.detectors.row_configs import detector_changes, detector_config
from reproduction.detectors.row_evaluation import AGAIN, evaluated_config
from reproduction.published.table_rows import Printed
from reproduction.runs import folders
from reproduction.tables import markdown_table, refuse_mixture, said, spread
from training.progress.step_figures import three_digits

FEW = 5  # changes of a recipe, which are written out; of more the number is said


@dataclass(frozen=True)
class Line:
    """A row of the paper beside our evaluations of it.

    Attributes:
        group: None where nothing was evaluated.
        costs: of each evaluation, see `training.progress.computing_cost`.
        changed: how ours differ from the paper's recipe.
        less_before, less_baseline: the paired differences from the evaluated row before, and from the
            baseline where that is another row; each by the name of the figure.
    """

    row: DetectionRow
    detectors: list[Scored]
    group: Group | None
    costs: list[dict[str, Any]]
    changed: list[str]
    before: str | None
    less_before: dict[str, Difference]
    less_baseline: dict[str, Difference]

    def off_paper(self, name: str) -> float | None:
        """Our mean minus the paper's number; None without both."""
        printed = self.row.scores.get(name)
        ours = self.group.scores.get(name) if self.group else None
        return statistics.mean(ours) - printed.value if ours and printed else None


def read_lines(rows: Sequence[DetectionRow], folder: Path) -> list[Line]:
    """What the folder of the table holds of these rows.

    Raises:
        UserError: a data set is not at hand, evaluations of one row have different configurations, or rows
            were scored on different pictures.
    """
    opened, lines = SplitOpener(), list[Line]()
    for row in rows:
        results = {
            place: read_json(place / "result.json", AGAIN)
            for place in folders(row, folder).values()
            if (place / "result.json").is_file()
        }
        detectors = [
            Scored(place, evaluated_config(result["evaluated"], place / "result.json"), result["scores"])
            for place, result in results.items()
        ]
        refuse_mixture(detectors, detector_changes)
        group = read_group(detectors, opened) if detectors else None
        changed = detector_changes(detector_config(row), detectors[0].config) if detectors else []
        costs = [result["evaluated"]["cost"] for result in results.values()]
        there = [line for line in lines if line.group] if group else []
        before = there[-1] if there else None
        baseline = next((line for line in there if line.row.key == "baseline"), there[0] if there else None)
        less_baseline = {} if baseline is before else _differences(baseline, group)
        less_before = _differences(before, group)
        key = before.row.key if before else None
        lines.append(Line(row, detectors, group, costs, changed, key, less_before, less_baseline))
    return lines


def _differences(first: Line | None, second: Group | None) -> dict[str, Difference]:
    if first is None or first.group is None or second is None:
        return {}
    return {name: difference(first.group, second, name) for name in second.scores}


def markdown(number: str, table: DetectionTable, lines: Sequence[Line]) -> str:
    """The table as a report has it."""
    names = next(([*line.group.scores] for line in lines if line.group), [*table.scores])
    heading = [
        "row",
        f"paper, {' / '.join(table.scores)}, %",
        f"ours, {' / '.join(names)}, %",
        "n",
        "difference",
        "less the row before",
        "less the baseline",
        "s a picture",
        "memory",
    ]
    rows = markdown_table(heading, (_cells(line, table.scores) for line in lines), right=range(1, 9))
    return f"**Table {number}.** {table.title} ({table.source}).\n\n{rows}\n\n{_notes(lines)}"


def _cells(line: Line, columns: Sequence[str]) -> list[str]:
    printed = _printed(line.row.scores, columns)
    if line.group is None:
        return [line.row.label, printed, "not run", "0", *[""] * 5]
    off = [line.off_paper(name) for name in columns]
    text = " / ".join("–" if value is None else f"{value:+.2f}" for value in off)
    if all(value is None for value in off):
        text = ""
    elif line.changed:
        text = f"({text}) not comparable"
    seconds = statistics.mean(cost["seconds_a_picture"] for cost in line.costs)
    return [
        line.row.label,
        printed,
        " / ".join(spread(values) for values in line.group.scores.values()),
        str(len(line.detectors)),
        text,
        " / ".join(map(str, line.less_before.values())),
        " / ".join(map(str, line.less_baseline.values())),
        three_digits(seconds),
        _memory(line.costs),
    ]


def _printed(scores: Mapping[str, Printed], columns: Sequence[str]) -> str:
    return " / ".join(str(scores.get(name, "–")) for name in columns) if scores else ""


def _memory(costs: Sequence[Mapping[str, Any]]) -> str:
    known = [(cost["memory_bytes"], cost["memory_of"]) for cost in costs if cost["memory_bytes"] is not None]
    return f"{max(known)[1]} {three_digits(max(known)[0] / 1e9)} GB" if known else "–"


def _notes(lines: Sequence[Line]) -> str:
    notes = [
        "Ours: the weights after the last step; mean ± sample deviation over n seeds. Difference: our mean "
        f"less the paper's number. {ABOUT}",
        "Seconds a picture are of the evaluation, reading included; memory is the most that tensors took of "
        "a GPU, or what the process held of the host's at the end.",
    ]
    for line in lines:
        for column, scores in line.row.elsewhere.items():
            notes.append(f"In print also, {line.row.label}, {column}: {_printed(scores, [*scores])}.")
    of_changes: dict[tuple[str, ...], list[str]] = {}
    for line in lines:
        of_changes.setdefault(tuple(line.changed), []).append(line.row.label)
    for changed, labels in of_changes.items():
        if changed:
            shown = "; ".join(said(change) for change in changed[:FEW])
            more = f"; and {len(changed) - FEW} more" if len(changed) > FEW else ""
            notes.append(f"Not comparable with the paper ({'; '.join(labels)}): {shown}{more}.")
    return "\n\n".join(notes)


def record(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """All numbers behind the table, for table<number>.json."""
    return [
        {
            "label": line.row.label,
            "key": line.row.key,
            "paper": {name: printed._asdict() for name, printed in line.row.scores.items()},
            "elsewhere": {
                column: {name: printed._asdict() for name, printed in scores.items()}
                for column, scores in line.row.elsewhere.items()
            },
            "runs": [
                {"folder": detector.folder.name, "scores": detector.scores, "cost": cost}
                for detector, cost in zip(line.detectors, line.costs, strict=True)
            ],
            "scores": {
                name: {
                    "n": len(values),
                    "mean": statistics.mean(values),
                    "deviation": statistics.stdev(values) if len(values) > 1 else None,
                    "difference": line.off_paper(name),
                }
                for name, values in (line.group.scores if line.group else {}).items()
            },
            "row_before": line.before,
            "less_the_row_before": {name: one._asdict() for name, one in line.less_before.items()},
            "less_the_baseline": {name: one._asdict() for name, one in line.less_baseline.items()},
            "comparable": bool(line.detectors) and not line.changed,
            "changed": line.changed,
        }
        for line in lines
    ]
