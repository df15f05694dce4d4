"""A table of classifiers: paper / ours / difference, as a record of numbers and as Markdown drawn from it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reproduction.curves import epoch_steps
from reproduction.published.paper import TABLES
from reproduction.published.table_rows import Printed, Row, Table
from reproduction.results.provenance import Made
from reproduction.tables import (
    Ended,
    Line,
    Summary,
    markdown_table,
    mean_and_deviation,
    said,
    spread,
    summarise,
)

PROTOCOLS = {
    "last": "the test error after the last step, never of the best evaluation",
    "ten-crop": "ten crops of last.safetensors, the weights after the last step",
    "dense": "last.safetensors, the weights after the last step, fully convolutional at several scales",
    None: "no run: the test server's answer alone would compare",
}


@dataclass(frozen=True)
class RunRecord:
    """A run that came to its end; errors in per cent."""

    folder: str
    seed: int
    steps: int
    epochs: float | None  # None where the size of the training set is not known
    scores: dict[str, float]  # empty where the table's protocol was not applied
    training_error: float | None
    precision: str


@dataclass(frozen=True)
class RowRecord:
    """A row of the paper beside our runs of it."""

    label: str
    key: str
    ours: bool  # whether it can be trained here
    paper: dict[str, dict[str, Any]]  # `Printed` by the name of the score
    remark: str
    runs: list[RunRecord]
    not_ended: int
    scores: dict[str, Summary]
    comparable: bool
    changed: list[str]  # how ours differ from the paper's recipe, as `Line.changed`


@dataclass(frozen=True)
class ClassifierTable:
    """What table<number>.json holds."""

    table: str
    source: str
    made: Made
    rows: list[RowRecord]


def record(number: str, lines: Sequence[Line], made: Made) -> ClassifierTable:
    """All numbers behind the table, for table<number>.json."""
    table = TABLES[number]
    rows = [record_row(table, x.row, list(map(_record_run, x.ended)), x.begun, x.changed) for x in lines]
    return ClassifierTable(number, table.source, made, rows)


def _record_run(run: Ended) -> RunRecord:
    epoch = epoch_steps(run.config)
    return RunRecord(
        folder=run.folder.name,
        seed=run.seed,
        steps=run.steps,
        epochs=run.steps / epoch if epoch else None,
        scores=run.scores,
        training_error=run.training_error,
        precision=run.config.run.precision,
    )


def record_row(
    table: Table, row: Row, runs: list[RunRecord], not_ended: int, changed: list[str]
) -> RowRecord:
    """A row with what follows from its runs and from what is printed."""
    errors = {name: [run.scores[name] for run in runs if name in run.scores] for name in table.scores}
    return RowRecord(
        label=row.label,
        key=row.key,
        ours=row.config is not None,
        paper={name: printed._asdict() for name, printed in row.scores.items()},
        remark=row.remark,
        runs=runs,
        not_ended=not_ended,
        scores={
            name: summarise(values, difference(values, row.scores.get(name)))
            for name, values in errors.items()
            if values
        },
        comparable=bool(runs) and not changed,
        changed=changed,
    )


def difference(ours: Sequence[float], paper: Printed | None) -> float | None:
    """Our mean, or median where the paper prints one, minus the paper's number; None without that."""
    if paper is None:
        return None
    return (statistics.median(ours) if paper.median else statistics.mean(ours)) - paper.value


def markdown(content: ClassifierTable) -> str:
    """The table as a report has it."""
    number, table, rows = content.table, TABLES[content.table], content.rows
    heading = ["network", "paper, %", "ours, %", "n", "difference", "training error, %", "steps (epochs)"]
    drawn = markdown_table(heading, (_cells(row, table.scores) for row in rows), right=range(1, 7))
    return f"**Table {number}.** {table.title} ({table.source}).\n\n{drawn}\n\n{_notes(table, rows)}"


def _cells(row: RowRecord, names: Sequence[str]) -> list[str]:
    paper = {name: str(Printed(**printed)) for name, printed in row.paper.items()}
    numbers = " / ".join(paper.get(name, "–") for name in names) if paper else ""
    label, printed = row.label, ", ".join(filter(None, [numbers, row.remark]))
    if not row.ours:
        return [label, printed, "not ours", "", "", "", ""]
    if not row.runs:
        return [label, printed, "not ended" if row.not_ended else "not run", "0", "", "", ""]
    errors = [run.training_error for run in row.runs if run.training_error is not None]
    training = [spread(errors) if errors else "–", _lengths(row.runs)]
    if names[0] not in row.scores:
        return [label, printed, "not scored", "0", "", *training]
    summaries = [row.scores[name] for name in names]
    ours = " / ".join(mean_and_deviation(one.mean, one.deviation) for one in summaries)
    off = [one.difference for one in summaries]
    text = " / ".join("–" if value is None else f"{value:+.2f}" for value in off)
    if row.changed and paper:
        text = f"({text}) not comparable"
    return [label, printed, ours, str(summaries[0].n), text, *training]


def _lengths(runs: Sequence[RunRecord]) -> str:
    """The shortest run and the longest, in steps and epochs."""
    ordered = sorted(runs, key=lambda run: run.steps)
    texts = [
        f"{run.steps:,}" + ("" if run.epochs is None else f" ({run.epochs:.1f})")
        for run in (ordered[0], ordered[-1])
    ]
    return " to ".join(dict.fromkeys(texts))


def _notes(table: Table, rows: Sequence[RowRecord]) -> str:
    notes = [
        f"Ours: {PROTOCOLS[table.protocol]}; mean ± sample deviation over n seeds. Difference: our mean less "
        "the paper's number, of several runs their mean. Training error: mean over the last epoch, on "
        "augmented pictures, while the weights move."
    ]
    if any(printed["median"] for row in rows for printed in row.paper.values()):
        notes[0] += " Where the paper's number is a median, the difference is that of our median."
    bf16 = [row.label for row in rows if any(run.precision == "bf16" for run in row.runs)]
    if bf16:
        notes[0] += f" Computed in bf16: {', '.join(bf16)}."
    if changes := dict.fromkeys(change for row in rows for change in row.changed):
        notes += ["", "Not comparable with the paper, because it was not its recipe:"]
    trained = [row for row in rows if row.runs]
    for change in changes:
        labels = [row.label for row in trained if change in row.changed]
        whose = "all rows" if len(labels) == len(trained) > 1 else "; ".join(labels)
        notes.append(f"- {said(change)} ({whose})")
    return "\n".join(notes)
