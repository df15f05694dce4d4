"""A detection table: paper / ours / difference, and each row's paired difference from the row before.

The table in Markdown is drawn from the record of its numbers, so that both say the same.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.own_sets.split_opener import SplitOpener
from foundation.file_reading import read_json
from reproduction.detectors.detection_tables import DETECTION_TABLES, DetectionRow
from reproduction.detectors.detector_groups import Scored, read_group
from reproduction.detectors.row_configs import detector_changes, detector_config
from reproduction.detectors.row_evaluation import AGAIN, evaluated_config
from reproduction.published.table_rows import Printed
from reproduction.results.experiments import Difference
from reproduction.results.paired_groups import ABOUT, Group, difference
from reproduction.results.provenance import Made
from reproduction.runs import folders
from reproduction.tables import Summary, markdown_table, mean_and_deviation, refuse_mixture, said, summarise
from training.progress.step_figures import three_digits

FEW = 5  # changes of a recipe, which are written out; of more the number is said


@dataclass(frozen=True)
class Cost:
    """What an evaluation took, see `training.progress.computing_cost.measured`."""

    seconds_a_picture: float
    memory_of: str
    memory_bytes: float | None


@dataclass(frozen=True)
class EvaluationRecord:
    """One evaluation: its folder's name, the scores of result.json (0…1), and what it took."""

    folder: str
    scores: dict[str, float | None]
    cost: Cost


@dataclass(frozen=True)
class RowRecord:
    """A row of the paper beside our evaluations of it; see `Line`."""

    label: str
    key: str
    paper: dict[str, dict[str, Any]]  # `Printed` by the name of the figure
    elsewhere: dict[str, dict[str, dict[str, Any]]]
    runs: list[EvaluationRecord]
    scores: dict[str, Summary]
    row_before: str | None
    less_the_row_before: dict[str, Difference]
    less_the_baseline: dict[str, Difference]
    comparable: bool
    changed: list[str]


@dataclass(frozen=True)
class DetectionReport:
    """What table<number>.json holds."""

    table: str
    source: str
    made: Made
    rows: list[RowRecord]


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


def record(number: str, lines: Sequence[Line], made: Made) -> DetectionReport:
    """All numbers behind the table, for table<number>.json."""
    rows = [_record_row(line) for line in lines]
    return DetectionReport(number, DETECTION_TABLES[number].source, made, rows)


def _record_row(line: Line) -> RowRecord:
    ours = line.group.scores if line.group else {}
    return RowRecord(
        label=line.row.label,
        key=line.row.key,
        paper=_record_printed(line.row.scores),
        elsewhere={column: _record_printed(scores) for column, scores in line.row.elsewhere.items()},
        runs=[
            EvaluationRecord(detector.folder.name, dict(detector.scores), Cost(**cost))
            for detector, cost in zip(line.detectors, line.costs, strict=True)
        ],
        scores={name: _summary(values, line.row.scores.get(name)) for name, values in ours.items()},
        row_before=line.before,
        less_the_row_before=line.less_before,
        less_the_baseline=line.less_baseline,
        comparable=bool(line.detectors) and not line.changed,
        changed=line.changed,
    )


def _record_printed(scores: Mapping[str, Printed]) -> dict[str, dict[str, Any]]:
    return {name: printed._asdict() for name, printed in scores.items()}


def _summary(ours: Sequence[float], paper: Printed | None) -> Summary:
    return summarise(ours, None if paper is None else statistics.mean(ours) - paper.value)


def markdown(content: DetectionReport) -> str:
    """The table as a report has it."""
    number, table, rows = content.table, DETECTION_TABLES[content.table], content.rows
    names = next(([*row.scores] for row in rows if row.scores), [*table.scores])
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
    drawn = markdown_table(heading, (_cells(row, table.scores) for row in rows), right=range(1, 9))
    return f"**Table {number}.** {table.title} ({table.source}).\n\n{drawn}\n\n{_notes(rows)}"


def _cells(row: RowRecord, columns: Sequence[str]) -> list[str]:
    printed, summaries = _printed(row.paper, columns), row.scores
    if not summaries:
        return [row.label, printed, "not run", "0", *[""] * 5]
    off = [summaries[name].difference if name in summaries else None for name in columns]
    text = " / ".join("–" if value is None else f"{value:+.2f}" for value in off)
    if all(value is None for value in off):
        text = ""
    elif row.changed:
        text = f"({text}) not comparable"
    costs = [run.cost for run in row.runs]
    seconds = statistics.mean(cost.seconds_a_picture for cost in costs)
    return [
        row.label,
        printed,
        " / ".join(mean_and_deviation(one.mean, one.deviation) for one in summaries.values()),
        str(len(costs)),
        text,
        _joined(row.less_the_row_before),
        _joined(row.less_the_baseline),
        three_digits(seconds),
        _memory(costs),
    ]


def _joined(differences: Mapping[str, Difference]) -> str:
    return " / ".join(found.cell(digits=2) for found in differences.values())


def _printed(scores: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> str:
    texts = {name: str(Printed(**printed)) for name, printed in scores.items()}
    return " / ".join(texts.get(name, "–") for name in columns) if scores else ""


def _memory(costs: Sequence[Cost]) -> str:
    known = [(cost.memory_bytes, cost.memory_of) for cost in costs if cost.memory_bytes is not None]
    return f"{max(known)[1]} {three_digits(max(known)[0] / 1e9)} GB" if known else "–"


def _notes(rows: Sequence[RowRecord]) -> str:
    notes = [
        "Ours: the weights after the last step; mean ± sample deviation over n seeds. Difference: our mean "
        f"less the paper's number. {ABOUT}",
        "Seconds a picture are of the evaluation, reading included; memory is the most that tensors took of "
        "a GPU, or what the process held of the host's at the end.",
    ]
    for row in rows:
        for column, scores in row.elsewhere.items():
            notes.append(f"In print also, {row.label}, {column}: {_printed(scores, [*scores])}.")
    of_changes: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        of_changes.setdefault(tuple(row.changed), []).append(row.label)
    for changed, labels in of_changes.items():
        if changed:
            shown = "; ".join(said(change) for change in changed[:FEW])
            more = f"; and {len(changed) - FEW} more" if len(changed) > FEW else ""
            notes.append(f"Not comparable with the paper ({'; '.join(labels)}): {shown}{more}.")
    return "\n\n".join(notes)
