"""The paper's figure beside a run's, where the run's configuration trains a row of a table of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classification.config import PretrainConfig
from detection.config import DetectionConfig
from reporting.page.page_parts import Note, Part, Section, Table
from reporting.page.wording import figure, signed
from reproduction.classifier_table_report import PROTOCOLS
from reproduction.detectors.detection_tables import DETECTION_TABLES
from reproduction.detectors.row_configs import detector_changes, detector_config
from reproduction.published.paper import TABLES
from reproduction.published.table_rows import Printed
from reproduction.runs import row_config
from reproduction.tables import protocol_scores, recipe_changes, said


@dataclass(frozen=True)
class Beside:
    """A row of a table, and what the run has to show beside it.

    Attributes:
        label: of the row.
        source: paper, number of the table, section.
        printed: the row's scores by name.
        changes: how the run's recipe differs from the paper's, in words.
        ours: scores in per cent by name; empty where the table's protocol was not applied.
        protocol: in words.
    """

    label: str
    source: str
    printed: Mapping[str, Printed]
    changes: Sequence[str]
    ours: Mapping[str, float]
    protocol: str


def classifier_rows(config: PretrainConfig, folder: Path, last: Mapping[str, float]) -> list[Beside]:
    """The rows that a pretraining is a run of.

    Args:
        last: scores of the last step, per cent.
    """
    found = []
    for table in TABLES.values():
        for row in table.rows:
            if row.config is None or not row.scores or table.protocol is None:
                continue
            theirs = row_config(row)
            if (theirs.model.name, theirs.data.kind) != (config.model.name, config.data.kind):
                continue
            if _unit(theirs) != _unit(config):
                continue
            if row.option and theirs.model.shortcut != config.model.shortcut:
                continue
            kept = last if table.protocol == "last" else protocol_scores(folder, table.protocol, score=False)
            changes = [said(change) for change in recipe_changes(theirs, config)]
            of_row = row.label, table.source, row.scores
            found.append(Beside(*of_row, changes, kept, PROTOCOLS[table.protocol]))
    return found


def _unit(config: PretrainConfig) -> tuple[Any, ...]:
    """What the network's blocks are."""
    model = config.model
    return model.bottlenecks, model.unit, model.scaling, model.gate_bias


def detector_rows(config: DetectionConfig, scores: Mapping[str, float | None]) -> list[Beside]:
    """The rows that a detector's training is a run of; scores 0…1.

    Of rows that stand in several tables only the first is found.
    """
    found: dict[tuple[str, ...], Beside] = {}
    for table in DETECTION_TABLES.values():
        for row in table.rows:
            key = row.config, *row.overrides
            if row.networks > 1 or key in found or not row.scores:
                continue
            theirs = detector_config(row)
            if _is_of(theirs) != _is_of(config):
                continue
            changes = [said(line) for line in detector_changes(theirs, config)]
            ours = {name: 100 * value for name, value in scores.items() if value is not None}
            of_row = row.label, table.source, row.scores
            found[key] = Beside(*of_row, changes, ours, "the last evaluation of the run")
    return [*found.values()]


def _is_of(config: DetectionConfig) -> tuple[Any, ...]:
    detector, data = config.detector, config.data
    network = config.backbone.name, detector.kind, detector.context, config.testing
    return *network, data.kind, data.train, data.val


def paper_section(rows: Sequence[Beside]) -> list[Section]:
    """Paper, ours, difference; nothing where the run is no row of the paper."""
    if not rows:
        return []
    cells, notes = [], dict[str, None]()
    for beside in rows:
        for name, printed in beside.printed.items():
            ours = beside.ours.get(name)
            difference = signed(None if ours is None else ours - printed.value, 2)
            source = f"{beside.label}: {beside.source}"
            shown = "not scored so" if ours is None else figure(ours, 2)
            cells.append([source, name.replace("_", " "), str(printed), shown, difference])
        notes[f"Ours of {beside.label}: {beside.protocol}."] = None
        if beside.changes:
            notes[
                f"The difference from {beside.label} does not compare like with like; this run has "
                f"{'; '.join(change.replace('`', '') for change in beside.changes)}."
            ] = None
    heading = ["row of the paper", "figure", "paper, %", "ours, %", "difference"]
    parts: list[Part] = [Table(heading, cells, text=(0, 1))]
    parts += [Note(note, warning=note.startswith("The difference")) for note in notes]
    return [Section("Beside the paper", parts)]
